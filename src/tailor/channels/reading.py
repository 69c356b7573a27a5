"""Reads an exported graph node by node: every call as an operation, every number that may count channels as a count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from tailor.calling import Inputs
from tailor.channels.copying import named_tensors
from tailor.channels.counts import Place, bound, places
from tailor.channels.layer_calls import LayerCalls
from tailor.channels.operators import operator_text
from tailor.errors import TraceError
from tailor.program import COUNTS, LAYER, Operation, Program, ProgramInput

__all__ = ["Reader"]

_DROPOUTS = frozenset(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"))
_MOVE = "aten.to.dtype_layout"  # what `x.to(device)` and `x.to(memory_format=...)` become, which name no dtype
_OF_THE_TENSOR = frozenset(((_MOVE, "dtype"), (_MOVE, "layout")))  # as they were when exported: no choice of the code


class Reader:
    """Turns an exported program's nodes into operations."""

    def __init__(self, model: nn.Module, exported: Any) -> None:
        self._model = model
        self._exported = exported
        tensors = named_tensors(model)
        self._canonical = {id(tensor): path for path, tensor in tensors.items()}
        self._tensors = tensors
        self._states: dict[str, str] = {}  # name of a placeholder -> path of what it stands for
        self._renamed: dict[str, str] = {}  # name of a placeholder -> the input's own
        self._counts: dict[str, int] = {}
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._calls = LayerCalls(model, self._tensors, self._states)

    def program(self, inputs: Inputs) -> Program:
        """All calls in order.

        Raises:
            TraceError: a call or a container that a program cannot hold.
        """
        given = self._inputs(inputs)
        operations = [
            self._operation(node)
            for node in self._exported.graph.nodes
            if node.op == "call_function" and not _asserts(node)
        ]
        parameters = [path for path, tensor in self._tensors.items() if isinstance(tensor, nn.Parameter)]
        stored = self._model.state_dict(keep_vars=True)
        return Program(
            inputs=given,
            positional=len(tree_flatten(inputs.args)[0]),
            operations=tuple(operations),
            output=self._output(),
            layers=self._calls.layers,
            counts=self._counts,
            parameters=tuple(parameters),
            frozen=tuple(path for path in parameters if not self._tensors[path].requires_grad),
            transient=tuple(path for path in self._tensors if path not in stored),
        )

    def _inputs(self, inputs: Inputs) -> tuple[ProgramInput, ...]:
        leaves = tree_flatten((inputs.args, dict(inputs.kwargs)))[0]
        keywords = [str(name) for name in inputs.kwargs]
        if len(tree_flatten(dict(inputs.kwargs))[0]) != len(keywords):
            raise TraceError("keyword inputs are nested", value=keywords)
        names, nodes = [], {node.name: node for node in self._exported.graph.nodes if node.op == "placeholder"}
        for spec in self._exported.graph_signature.input_specs:
            kind = spec.kind.name
            if kind == "USER_INPUT":
                names.append(spec.arg.name)
            elif kind in ("PARAMETER", "BUFFER"):
                self._states[spec.arg.name] = self._path(spec.target)
            else:
                raise TraceError(f"its graph holds a {kind.lower().replace('_', ' ')}", value=kind)
        for spec in self._exported.graph_signature.output_specs:
            if spec.kind.name != "USER_OUTPUT":
                raise TraceError("its forward changes the network's own state", value=spec.kind.name)
        positional = len(leaves) - len(keywords)
        given = []
        for number, (name, leaf) in enumerate(zip(names, leaves, strict=True)):
            label = name if number < positional else keywords[number - positional]
            shape = _shape(nodes[name].meta.get("val")) if isinstance(leaf, Tensor) else None
            if shape is None and isinstance(leaf, Tensor):
                raise TraceError(f"input {label} has no known shape", value=label)
            constant = None if isinstance(leaf, Tensor) else leaf
            given.append(ProgramInput(name=label, shape=shape, constant=constant))
            self._renamed[name] = label
        if not any(each.shape is not None and None in each.shape for each in given):
            raise TraceError("its forward fixes the batch size", value=[each.shape for each in given])
        return tuple(given)

    def _path(self, target: str) -> str:
        """The first name of a parameter or buffer that may have several."""
        owner, _, name = target.rpartition(".")
        tensor = getattr(self._modules[owner], name)
        return self._canonical.get(id(tensor), target)

    def _operation(self, node: Any) -> Operation:
        owner = self._calls.owner(node)
        if owner is not None:
            return Operation(name=node.name, operator=LAYER, arguments=(owner, self._argument(node.args[0])))
        text = operator_text(node.target)
        if text is None:
            raise TraceError(f"its graph calls {node.target}", value=str(node.target))
        if _writes_state(node, self._states):
            raise TraceError("its forward changes the network's own state", value=text)
        arguments = [self._argument(argument) for argument in node.args]
        keywords = {
            name: self._argument(argument)
            for name, argument in node.kwargs.items()
            if (text, name) not in _OF_THE_TENSOR
        }
        if isinstance(node.target, torch._ops.OpOverload):
            self._follow_mode(node, arguments)
            self._count(node, arguments, keywords)
        return Operation(name=node.name, operator=text, arguments=tuple(arguments), keywords=keywords)

    def _follow_mode(self, node: Any, arguments: list[Any]) -> None:
        """Norms that read their running statistics in eval mode, and dropout, do what the network's mode says."""
        name = node.target.overloadpacket.__name__
        known = bound(node.target, node.args, node.kwargs)
        names = [argument.name for argument in node.target._schema.arguments]
        if name.rstrip("_") in _DROPOUTS:
            arguments[names.index("train")] = {"training": True}
        elif name == "batch_norm" and not known["training"] and known["running_mean"] is not None:
            owner = self._states.get(known["running_mean"].name, "").rpartition(".")[0]
            if owner not in self._calls.frozen_norms:
                arguments[names.index("training")] = {"training": True}

    def _count(self, node: Any, arguments: list[Any], keywords: dict[str, Any]) -> None:
        """Make buffers of the numbers that may count channels."""
        names = [argument.name for argument in node.target._schema.arguments]
        known = bound(node.target, *(_values(part) for part in (node.args, dict(node.kwargs))))
        for place in places(node.target.overloadpacket.__name__, known, node.meta.get("val")):
            holder: Any = arguments if names.index(place.argument) < len(arguments) else keywords
            key: Any = names.index(place.argument) if holder is arguments else place.argument
            self._name_count(node, place, holder, key)

    def _name_count(self, node: Any, place: Place, holder: Any, key: Any) -> None:
        name = f"{node.name}_{place.argument}" + ("" if place.index is None else f"_{place.index}")
        path = f"{COUNTS}.{name}"
        self._counts[path] = place.size
        count = {"count": path, "sign": place.sign}
        if place.index is None:
            holder[key] = count
        else:
            holder[key][place.index] = count

    def _argument(self, argument: Any) -> Any:
        """An argument as JSON holds it."""
        if isinstance(argument, torch.fx.Node):
            if argument.name in self._states:
                return {"state": self._states[argument.name]}
            return {"of": self._renamed.get(argument.name, argument.name)}
        if isinstance(argument, (list, tuple)):
            return [self._argument(part) for part in argument]
        return _constant(argument)

    def _output(self) -> Any:
        node = next(node for node in self._exported.graph.nodes if node.op == "output")
        flat = [self._argument(part) for part in node.args[0]]
        return _container(tree_unflatten([_Leaf(part) for part in flat], self._exported.call_spec.out_spec))


class _Leaf:
    def __init__(self, argument: Any) -> None:
        self.argument = argument


def _container(value: Any) -> Any:
    if isinstance(value, _Leaf):
        return value.argument
    if type(value) in (tuple, list):
        return {type(value).__name__: [_container(part) for part in value]}
    if isinstance(value, dict) and type(value).__name__ in ("dict", "OrderedDict"):
        return {"dict": [[key, _container(part)] for key, part in value.items()]}
    raise TraceError(f"it returns a {type(value).__name__}", value=type(value).__name__)


def _shape(value: Any) -> tuple[int | None, ...] | None:
    if not isinstance(value, Tensor):
        return None
    return tuple(size if type(size) is int else None for size in value.shape)


def _values(part: Any) -> Any:
    """Arguments with the (fake) tensors and sizes that nodes stand for."""
    return torch.fx.node.map_arg(part, lambda node: node.meta.get("val"))


def _asserts(node: Any) -> bool:
    """Checks of sizes, which make no value; a program checks its inputs."""
    name = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
    return name.startswith("_assert") or name.startswith("sym_constrain_range")


def _writes_state(node: Any, states: Mapping[str, str]) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    pairs = zip(schema.arguments, node.args, strict=False)
    return any(
        argument.alias_info is not None and argument.alias_info.is_write and getattr(given, "name", "") in states
        for argument, given in pairs
    )


def _constant(value: Any) -> Any:
    """A constant as JSON holds it.

    Raises:
        TraceError: it is of a kind that no operator takes.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.device):
        return {"device": True}
    kind = {torch.dtype: "dtype", torch.layout: "layout", torch.memory_format: "memory_format"}.get(type(value))
    if kind is None:
        raise TraceError(f"its graph holds a {type(value).__name__}", value=str(value))
    return {kind: str(value).removeprefix("torch.")}
