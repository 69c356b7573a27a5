"""Writes a module as an ONNX graph in memory whose nodes are named after the modules whose work they do."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from tailor.calling import first_words, output_tensors
from tailor.engines.onnx_fold import fold_batch_norm
from tailor.engines.onnx_names import NodeOwners, name_after_modules, own_initializers
from tailor.engines.optional import required
from tailor.errors import MeasurementError

__all__ = ["OnnxNetwork", "export_onnx", "quietly"]

_OPSET = 17  # the newest that both exporters of torch 2.6 and all three runtimes handle
_WRAPPED = "network"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxNetwork:
    """A serialised ONNX graph with the tensors to feed it, whose work each node does, and which exporter wrote it.

    `feeds` are the graph's inputs by name, contiguous and on the CPU. The graph's outputs are the tensors that the
    module returns, in `output_tensors` order.
    """

    data: bytes
    feeds: Mapping[str, Tensor]
    owners: NodeOwners
    exporter: str


def export_onnx(
    module: nn.Module,
    inputs: Sequence[Any],
    *,
    engine: str,
    dtype: torch.dtype = torch.float32,
    exporters: Sequence[str] = ("traced", "program"),
    free_batch: bool = False,
) -> OnnxNetwork:
    """The module as ONNX, by torch's tracing exporter, or by its graph exporter where that one refuses.

    `exporters` gives the order in which they are tried. With `free_batch` the graph takes any batch size: every input
    whose first size is the first input's, which must not be 1.

    Works on a copy in eval mode with floating-point numbers in `dtype`. Weights too small for a normal number become
    zero: a CPU may take 100 cycles for each. BatchNorm is folded into the layer before it, as every
    engine would.

    Raises:
        MissingDependencyError: the package onnx is not installed.
        MeasurementError: neither exporter can write the module; names the operator.
    """
    required("onnx", engine=engine, extra=engine.partition("-")[0])
    with torch.inference_mode(False), torch.no_grad(), quietly():
        leaves, spec = tree_flatten(tuple(_converted(value, dtype) for value in inputs))
        network = copy.deepcopy(module).eval().to("cpu", dtype)
        _flush_denormals(network)
        wrapped = _TensorsOnly(network, leaves, spec).eval()
        tensors = [_converted(leaf, dtype).contiguous() for leaf in leaves if isinstance(leaf, Tensor)]
        batch = int(tensors[0].shape[0]) if free_batch else None
        exporter, proto = _export(wrapped, [tensor.clone() for tensor in tensors], exporters, batch)
    own_initializers(proto)
    fold_batch_norm(proto)
    owners = name_after_modules(proto, module, prefix=f"{_WRAPPED}.")
    given = {_input_name(index): tensor for index, tensor in enumerate(tensors)}
    return OnnxNetwork(
        data=proto.SerializeToString(),
        feeds={value.name: given[value.name] for value in proto.graph.input},
        owners=owners,
        exporter=exporter,
    )


class _TensorsOnly(nn.Module):
    """A network called with its tensor inputs alone, answering with a flat tuple of tensors."""

    def __init__(self, network: nn.Module, leaves: Sequence[Any], spec: TreeSpec) -> None:
        super().__init__()
        self.network = network
        self._fixed = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self._spec = spec

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = list(self._fixed)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        return tuple(output_tensors(self.network(*tree_unflatten(leaves, self._spec))))


def _export(
    network: nn.Module, tensors: list[Tensor], exporters: Sequence[str], batch: int | None
) -> tuple[str, Any]:
    """The exporters in turn; both leave names of parameters on initializers. Inputs of this batch are of any."""
    reasons = []
    free = [batch is not None and bool(tensor.ndim) and tensor.shape[0] == batch for tensor in tensors]
    for name in exporters:
        try:
            return name, _EXPORTERS[name](network, tensors, free)
        except Exception as error:  # the exporters raise types of their own at will
            reasons.append(_reason(error))
    raise MeasurementError(f"cannot be written as ONNX: {'; by the other exporter: '.join(reasons)}", value=reasons)


def _export_traced(network: nn.Module, tensors: list[Tensor], free: Sequence[bool]) -> Any:
    """torch's first exporter: ten times faster than its successor."""
    import onnx

    written = io.BytesIO()
    names = [_input_name(index) for index in range(len(tensors))]
    torch.onnx.export(
        network,
        tuple(tensors),
        written,  # type: ignore[arg-type]  # a file object is what this exporter is documented to take
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # EVAL would lose the weights' names
        do_constant_folding=False,  # folded weights lose their names; the engines fold for themselves
        opset_version=_OPSET,
        input_names=names,
        dynamic_axes={name: {0: "batch"} for name, any_batch in zip(names, free, strict=True) if any_batch},
    )
    return onnx.load_model_from_string(written.getvalue())


def _export_program(network: nn.Module, tensors: list[Tensor], free: Sequence[bool]) -> Any:
    """torch's second exporter, which knows more operators."""
    required("onnxscript", engine="onnxruntime", extra="onnxruntime")
    shapes = tuple({0: torch.export.Dim.DYNAMIC} if any_batch else None for any_batch in free)
    program = torch.onnx.export(
        network,
        tuple(tensors),
        dynamo=True,
        optimize=True,  # folds what it writes for BatchNorm and the like
        verbose=False,
        opset_version=_OPSET + 1,  # its oldest
        input_names=[_input_name(index) for index in range(len(tensors))],
        dynamic_shapes={"tensors": shapes} if any(free) else None,
    )
    if program is None:
        raise MeasurementError("the exporter returned no program", value=type(network).__name__)
    return program.model_proto


_EXPORTERS = {"traced": _export_traced, "program": _export_program}


def _reason(error: Exception) -> str:
    """The operator that the exporter stumbled over, or what it said first."""
    operator = re.search(r"aten(::|\.)(\w+)", str(error))
    return f"operator aten::{operator[2]}" if operator else first_words(error)


def _input_name(index: int) -> str:
    return f"input_{index}"


def _converted(value: Any, dtype: torch.dtype) -> Any:
    """The value with its floating-point tensors copied to the CPU in `dtype`."""
    leaves, spec = tree_flatten(value)
    return tree_unflatten([_converted_leaf(leaf, dtype) for leaf in leaves], spec)


def _converted_leaf(leaf: Any, dtype: torch.dtype) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().to("cpu", dtype if leaf.is_floating_point() else leaf.dtype, copy=True)


def _flush_denormals(network: nn.Module) -> None:
    for values in (*network.parameters(), *network.buffers()):
        if values.is_floating_point():
            values.masked_fill_(values.abs() < torch.finfo(values.dtype).tiny, 0)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No warnings, log lines or progress of an exporter on the user's terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _native_output_dropped():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _native_output_dropped() -> Iterator[None]:
    """Nothing reaches the process's stdout: the tracing exporter prints whole graphs there when it fails."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
