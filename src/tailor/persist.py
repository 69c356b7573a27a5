"""A pruned network on disk: safetensors and JSON, never pickle, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tailor.channels.cut import assemble
from tailor.channels.network import GraphNetwork
from tailor.channels.nothing import Gone, Numbers
from tailor.errors import RunFolderError, WeightsError
from tailor.program import Program
from tailor.serialize import read_record, write_bytes, write_record

__all__ = ["MODEL_FILE", "PROGRAM_FILE", "WEIGHTS_FILE", "ModelRecord", "flush_denormals", "load", "restore", "save"]

MODEL_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
PROGRAM_FILE = "program.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """How to build the dense skeleton that the saved tensors are put into.

    `model` is a name that `tailor.models.load_model` knows, or "" when the network was given as an object; then
    `kind` is its class and whoever loads the folder brings the dense network along. `shapes` are those of the
    saved tensors by state-dict key; `removed` are the modules whose residual branch is gone, with their numbers. Where
    `form` is "exported graph", the calls of forward are stored as data (program.json), and nothing else is needed to
    load the network.
    """

    model: str
    kind: str
    num_classes: int | None
    shapes: Mapping[str, tuple[int, ...]]
    form: str = "module"
    removed: Mapping[str, Numbers] = field(default_factory=dict)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, also the buffers that a state dict leaves out: they may be channel-indexed."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def flush_denormals(model: nn.Module) -> int:
    """Set denormal weights to zero in place and say how many there were: they make CPUs many times slower."""
    flushed = 0
    with torch.no_grad():
        for tensor in _tensors(model).values():
            if tensor.is_floating_point() and tensor.numel():
                denormal = (tensor != 0) & (tensor.abs() < torch.finfo(tensor.dtype).tiny)
                flushed += int(denormal.sum())
                tensor.masked_fill_(denormal, 0)
    return flushed


def save(model: nn.Module, folder: Path, *, name: str = "", num_classes: int | None = None) -> None:
    """Write the network's tensors and how to rebuild it; either file is whole or absent."""
    tensors = {path: tensor.detach().cpu().contiguous() for path, tensor in _tensors(model).items()}
    shapes = {path: tuple(tensor.shape) for path, tensor in tensors.items()}
    separate = {path: tensor.clone() for path, tensor in tensors.items()}  # safetensors refuses shared storage
    write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(separate))
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    form = "module"
    if isinstance(model, GraphNetwork):
        form = "exported graph"
        frozen = tuple(path for path, parameter in model.named_parameters() if not parameter.requires_grad)
        write_record(folder / PROGRAM_FILE, replace(model.channel_program, frozen=frozen))
    else:
        (folder / PROGRAM_FILE).unlink(missing_ok=True)  # of another network, saved here before
    removed = {path: module.numbers for path, module in model.named_modules() if isinstance(module, Gone)}
    record = ModelRecord(
        model=name, kind=kind, num_classes=num_classes, shapes=shapes, form=form, removed=removed
    )
    write_record(folder / MODEL_FILE, record)


def _record(folder: Path) -> ModelRecord:
    """How the network of this folder is built.

    Raises:
        RunFolderError: the folder holds no saved network.
    """
    for name in (MODEL_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise RunFolderError(f"{folder} holds no saved network: {name} is missing", value=str(folder))
    return read_record(folder / MODEL_FILE, ModelRecord)


def _saved(folder: Path, record: ModelRecord) -> dict[str, Tensor]:
    """The stored tensors by state-dict key.

    Raises:
        WeightsError: they are damaged, or not those that were recorded.
    """
    try:
        saved = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{folder / WEIGHTS_FILE} is damaged ({error}); run again", value=str(folder)) from None
    for path, shape in record.shapes.items():
        if path not in saved or tuple(saved[path].shape) != tuple(shape):
            raise WeightsError(f"{folder}: {path!r} is not of its recorded shape {shape}", value=path)
    return saved


def _executed(folder: Path, record: ModelRecord) -> nn.Module:
    """The saved network from its calls and its tensors alone, in eval mode."""
    program = read_record(folder / PROGRAM_FILE, Program)
    tensors = {path: tensor.clone() for path, tensor in _saved(folder, record).items()}  # off the file's mapping
    network = GraphNetwork(program, tensors)
    for path in program.frozen:
        network.get_parameter(path).requires_grad_(False)
    return network.eval()


def restore(dense: nn.Module, folder: Path) -> nn.Module:
    """The saved network, built from its dense skeleton; `dense` is left as it was. In eval mode.

    Raises:
        RunFolderError: the folder holds no saved network.
        WeightsError: the weights are damaged, or belong to another architecture.
    """
    record = _record(folder)
    if record.form != "module" and not isinstance(dense, GraphNetwork):
        return _executed(folder, record)
    saved = _saved(folder, record)
    known = dict(dense.named_modules())
    if unknown := [path for path in record.removed if path not in known]:
        raise WeightsError(f"{folder} was saved from another architecture: it has no {unknown[0]!r}", value=unknown[0])
    inside = tuple(f"{path}." for path in record.removed)
    own = {path: tensor for path, tensor in _tensors(dense).items() if not path.startswith(inside)}
    if set(own) != set(saved):
        odd = sorted(set(own) ^ set(saved))[0]
        raise WeightsError(f"{folder} was saved from another architecture: {odd!r} is on one side only", value=odd)
    replaced: dict[str, Tensor] = {}
    for path, tensor in saved.items():
        old = own[path]
        moved = tensor.to(device=old.device, copy=True)  # off the file's mapping, whose alignment kernels may dislike
        replaced[path] = (
            nn.Parameter(moved, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else moved
        )
    small = assemble(dense, replaced, tuple(record.removed))
    for path, numbers in record.removed.items():  # those of the cut network: the skeleton knows the dense ones
        cast(Gone, small.get_submodule(path)).answer(numbers)
    return small.eval()


def load(folder: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The pruned network of a run folder, in eval mode, without pickle.

    Args:
        folder: the run folder, or any folder that `save` wrote.
        model: the dense network (any weights), needed only when the run was given an object instead of a name, and
            not where its exported graph was cut.

    Raises:
        RunFolderError: no saved network here, or the dense network is needed and was not given.
        WeightsError: damaged weights, or a dense network of another architecture.
    """
    from tailor.models import load_model

    path = Path(folder)
    record = _record(path)
    if record.form != "module":
        return _executed(path, record)
    if model is None and not record.model:
        message = f"{path} was made from a {record.kind} object: give the dense network, load(folder, model=...)"
        raise RunFolderError(message, value=record.kind)
    return restore(model if model is not None else load_model(record.model, num_classes=record.num_classes), path)
