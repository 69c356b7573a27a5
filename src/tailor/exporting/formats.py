"""The formats: each writes its files, reads them back, and gives the outputs of what it has read."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.channels.exported import unheard
from tailor.engines.onnx_export import OnnxNetwork, export_onnx, quietly
from tailor.engines.optional import required
from tailor.errors import UnknownNameError
from tailor.serialize import write_bytes

__all__ = ["FORMATS", "Written", "formats_named"]

Run = Callable[[Sequence[Any]], list[Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Written:
    """Files that were written and read back: `run` gives the outputs of what was read, for inputs by position."""

    files: tuple[Path, ...]
    writer: str
    reader: str
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a format is given: a network in eval mode on the CPU, inputs by position, where to, and the batch."""

    network: nn.Module
    inputs: tuple[Any, ...]
    stem: Path
    free_batch: bool


def formats_named(text: str) -> tuple[str, ...]:
    """The formats in "onnx", "onnx,openvino" or "all", each once.

    Raises:
        UnknownNameError: no such format.
    """
    names = list(FORMATS) if text.strip() == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise UnknownNameError(f"no export format {name!r}; known are {', '.join(FORMATS)} and all", value=name)
    return tuple(dict.fromkeys(names))


def _onnx_network(given: Given) -> OnnxNetwork:
    """By torch's newer exporter; by the older one where that refuses."""
    order = ("program", "traced")
    return export_onnx(
        given.network, given.inputs, engine="onnxruntime", exporters=order, free_batch=given.free_batch
    )


def _onnx(given: Given) -> Written:
    network = _onnx_network(given)
    path = given.stem.with_suffix(".onnx")
    write_bytes(path, network.data)
    required("onnx", engine="onnxruntime", extra="onnxruntime").checker.check_model(str(path))
    library = required("onnxruntime", engine="onnxruntime", extra="onnxruntime")
    session = library.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Any]) -> list[Tensor]:
        tensors = _by_name(network, inputs)
        return [torch.from_numpy(found) for found in session.run(None, {n: t.numpy() for n, t in tensors.items()})]

    writer = {"program": "torch.onnx (dynamo)", "traced": "torch.onnx (TorchScript)"}[network.exporter]
    return Written(files=(path,), writer=writer, reader=f"onnxruntime {library.__version__}", run=run)


def _by_name(network: OnnxNetwork, inputs: Sequence[Any]) -> Mapping[str, Tensor]:
    """The tensors under the names of the graph's inputs, which may have dropped some."""
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    places = [index for index, value in enumerate(inputs) if isinstance(value, Tensor)]
    named = {f"input_{place}": tensor.contiguous() for place, tensor in zip(places, tensors, strict=True)}
    return {name: named[name] for name in network.feeds}


def _openvino(given: Given) -> Written:
    library = required("openvino", engine="openvino", extra="openvino")
    network = _onnx_network(given)
    core = library.Core()
    path = given.stem.with_suffix(".xml")
    library.save_model(core.read_model(network.data), str(path), compress_to_fp16=False)
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Sequence[Any]) -> list[Tensor]:
        request = compiled.create_infer_request()
        for name, tensor in _by_name(network, inputs).items():
            request.set_tensor(name, library.Tensor(tensor.numpy()))
        request.infer()
        return [torch.from_numpy(found.data.copy()) for found in request.output_tensors]

    version = str(library.__version__).partition("-")[0]
    return Written(
        files=(path, path.with_suffix(".bin")), writer=f"openvino {version}", reader=f"openvino {version}", run=run
    )


def _torch_export(given: Given) -> Written:
    from torch.export import Dim, export, load, save

    batch = _batch(given.inputs)

    def free(value: Any) -> Any:
        batched = given.free_batch and isinstance(value, Tensor) and value.ndim and value.shape[0] == batch
        return {0: Dim.DYNAMIC} if batched else None

    shapes = {"values": tuple(free(value) for value in given.inputs)}
    program = export(_ByPosition(given.network), given.inputs, dynamic_shapes=shapes, strict=False)
    path = given.stem.with_suffix(".pt2")
    save(program, path)
    again = load(path).module()
    return Written(files=(path,), writer=f"torch {_version()}", reader="torch.export.load", run=_runner(again))


class _ByPosition(nn.Module):
    """A network that takes any number of inputs by position, so that its sizes can be spoken of."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *values: Any) -> Any:
        return self.network(*values)


def _torchscript(given: Given) -> Written:
    path = given.stem.with_suffix(".ts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every size that it takes for a constant; the comparison tells
        traced = cast(Any, torch.jit.trace)(given.network, given.inputs, check_trace=False, strict=False)
        cast(Any, torch.jit.save)(traced, str(path))
        again = cast(Any, torch.jit.load)(str(path))
    return Written(files=(path,), writer=f"torch.jit.trace {_version()}", reader="torch.jit.load", run=_runner(again))


def _runner(module: Callable[..., Any]) -> Run:
    return functools.partial(_called, module)


def _called(module: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    return output_tensors(module(*inputs))


def _batch(inputs: Sequence[Any]) -> int:
    return next(int(value.shape[0]) for value in inputs if isinstance(value, Tensor) and value.ndim)


def _version() -> str:
    return str(torch.__version__).partition("+")[0]


def _quiet(write: Callable[[Given], Written]) -> Callable[[Given], Written]:
    @functools.wraps(write)
    def written(given: Given) -> Written:
        with quietly(), unheard():
            return write(given)

    return written


FORMATS: Mapping[str, Callable[[Given], Written]] = {
    "onnx": _quiet(_onnx),
    "openvino": _quiet(_openvino),
    "torch-export": _quiet(_torch_export),
    "torchscript": _quiet(_torchscript),
}
