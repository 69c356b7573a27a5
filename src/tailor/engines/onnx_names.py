"""Whose work the nodes of an ONNX graph do: a convolution is named after the module whose weight it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

__all__ = ["NodeOwners", "constant_values", "name_after_modules", "own_initializers"]

# Operators with weights, and the inputs that may be one.
_WEIGHTED = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1, 0), "MatMul": (1, 0)}
# What engines fuse into the operator before; the fused node often bears the name of the last tensor.
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "PRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh", "Elu")
_FUSED = frozenset([*_ACTIVATIONS, "BatchNormalization", "Add", "Mul", "Cast"])


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOwners:
    """Path of the module whose work it is, by name of node and by name of the tensor that leaves it.

    A tensor's entry also stands for what has passed through an activation or an addition of a constant since.
    """

    nodes: Mapping[str, str]
    tensors: Mapping[str, str]

    def of_node(self, name: str, marks: Sequence[str] = ()) -> str | None:
        """The owner of a node that an engine calls `name`, perhaps followed by a mark of what it did to it."""
        return _first(self.nodes, name, marks)

    def of_tensor(self, name: str, marks: Sequence[str] = ()) -> str | None:
        """The owner of a node that an engine calls after the tensor that leaves it."""
        return _first(self.tensors, name, marks)


def _first(owners: Mapping[str, str], name: str, marks: Sequence[str]) -> str | None:
    known = (name, *(name.partition(mark)[0] for mark in marks))
    return next((owners[one] for one in known if one in owners), None)


def own_initializers(proto: Any) -> None:
    """Gives every parameter its own initializer: exporters merge equal ones behind Identity nodes; in place."""
    graph = proto.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {output.name for output in graph.output}
    kept = []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in known and node.output[0] not in outputs:
            own = graph.initializer.add()
            own.CopyFrom(known[node.input[0]])
            own.name = node.output[0]
            known[own.name] = own
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def name_after_modules(proto: Any, module: nn.Module, *, prefix: str) -> NodeOwners:
    """Renames every convolution, linear layer and product with weights to the path of its module; in place.

    A module called again gives `path#2`. `prefix` stands before the names of the module's parameters in the graph.
    """
    graph = proto.graph
    paths = {name for name, _ in module.named_modules()}
    constants = constant_values(graph)
    nodes: dict[str, str] = {}
    tensors: dict[str, str] = {}
    for node in graph.node:
        owner = _owner(node, constants, paths, prefix)
        if owner is not None:
            node.name = _free(owner, nodes)
            nodes[node.name] = owner
        elif node.op_type in _FUSED:
            owner = _before(node, tensors, constants)
        if owner is not None:
            tensors.update(dict.fromkeys(node.output, owner))
    return NodeOwners(nodes=nodes, tensors=tensors)


def constant_values(graph: Any) -> Mapping[str, tuple[str, ...]]:
    """Every value that does not depend on the graph's inputs, with the initializers it is made of."""
    constants: dict[str, tuple[str, ...]] = {tensor.name: (tensor.name,) for tensor in graph.initializer}
    constants[""] = ()  # an optional input that is left out
    for node in graph.node:  # which stand in order of execution
        if all(name in constants for name in node.input) and not node.op_type.startswith("Random"):
            made_of = tuple(dict.fromkeys(part for name in node.input for part in constants[name]))
            constants.update(dict.fromkeys(node.output, made_of))
    return constants


def _owner(node: Any, constants: Mapping[str, tuple[str, ...]], paths: set[str], prefix: str) -> str | None:
    """The module whose weight the node reads; None for nodes without weights."""
    for index in _WEIGHTED.get(node.op_type, ()):
        parameters = [name for name in constants.get(node.input[index], ()) if name.startswith(prefix)]
        if parameters:
            owner = parameters[0].removeprefix(prefix).rpartition(".")[0].partition(".parametrizations.")[0]
            return owner if owner in paths else None
    return None


def _before(node: Any, tensors: Mapping[str, str], constants: Mapping[str, tuple[str, ...]]) -> str | None:
    """The owner of the only value that comes in, None where several meet."""
    coming = [name for name in node.input if name not in constants]
    return tensors.get(coming[0]) if len(coming) == 1 else None


def _free(name: str, taken: Mapping[str, str]) -> str:
    number, free = 1, name or "network"
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free
