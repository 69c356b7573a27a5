"""Folds BatchNorm into the layer before it, as engines do, but so that the layer keeps its name in their profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["fold_batch_norm"]

_Array = npt.NDArray[Any]


def fold_batch_norm(proto: Any) -> None:
    """Scales the weights of convolutions and linear layers by the BatchNorm that alone reads them; in place.

    With scale = gamma / sqrt(variance + epsilon): weight * scale, and (bias - mean) * scale + beta (Jacob et al. 2018,
    equation 14). Other BatchNorms stay.
    """
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    producers = {name: node for node in graph.node for name in node.output}
    folded = set()
    for norm in graph.node:
        layer = producers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if layer is None or readers[norm.input[0]] > 1 or not _foldable(layer, norm, weights, readers):
            continue
        _fold(graph, layer, norm, weights)
        folded.add(norm.output[0])
    kept = [node for node in graph.node if node.op_type != "BatchNormalization" or node.output[0] not in folded]
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unread(graph)


def _drop_unread(graph: Any) -> None:
    """Removes the statistics that nothing reads any more: ONNX Runtime would complain about each."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _foldable(layer: Any, norm: Any, weights: Mapping[str, Any], readers: Mapping[str, int]) -> bool:
    """Whether weights, bias and statistics are all stored, and nothing else reads the weights."""
    stored = [*layer.input[1:], *norm.input[1:]]
    return (
        _channel_axis(layer) is not None
        and all(name in weights for name in stored)
        and readers[layer.input[1]] == 1
        and len(norm.output) == 1
    )


def _channel_axis(layer: Any) -> int | None:
    """Which axis of the weights the output channels lie on; None where it is no single one."""
    options = {attribute.name: attribute for attribute in layer.attribute}
    if layer.op_type == "Conv":
        return 0
    if layer.op_type == "ConvTranspose":
        return 1 if "group" not in options or options["group"].i == 1 else None
    if layer.op_type == "Gemm" and not any(name in options and options[name].f != 1 for name in ("alpha", "beta")):
        return 0 if "transB" in options and options["transB"].i else 1
    return None


def _fold(graph: Any, layer: Any, norm: Any, weights: dict[str, Any]) -> None:
    from onnx import numpy_helper

    def value(name: str) -> _Array:
        array: _Array = numpy_helper.to_array(weights[name])
        return array.astype(np.float64)

    stored: _Array = numpy_helper.to_array(weights[layer.input[1]])
    gamma, beta, mean, variance = (value(name) for name in norm.input[1:5])
    epsilon = next((option.f for option in norm.attribute if option.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    shape = [1] * stored.ndim
    shape[_channel_axis(layer) or 0] = -1
    bias = value(layer.input[2]) if len(layer.input) > 2 else np.zeros_like(mean)
    weights[layer.input[1]].CopyFrom(_tensor(stored * scale.reshape(shape), stored.dtype, layer.input[1]))
    name = f"{layer.input[1]}/bias"
    graph.initializer.append(_tensor((bias - mean) * scale + beta, stored.dtype, name))
    del layer.input[2:]
    layer.input.append(name)
    layer.output[0] = norm.output[0]


def _tensor(values: _Array, dtype: Any, name: str) -> Any:
    """An initializer without numbers too small for a normal one: a CPU may take 100 cycles for each."""
    from onnx import numpy_helper

    rounded: _Array = values.astype(dtype)
    rounded[np.abs(rounded) < np.finfo(dtype).tiny] = 0
    return numpy_helper.from_array(rounded, name)
