"""Executes a program on a network's tensors: every call made ready once, every value freed after its last use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tailor.channels.counts import bound, places
from tailor.channels.operators import function_of, operator_named
from tailor.errors import SchemaError, TraceError
from tailor.program import LAYER, Operation, Program, ProgramInput

__all__ = ["Observer", "Plan"]

Observer = Callable[[str, Tensor, int, int, bool], None]  # (path of the count, tensor, dimension, start, makes)
Getter = Callable[["_Frame"], Any]


class _Frame:
    """The values of one execution."""

    __slots__ = ("device", "network", "numbers", "observer", "values")

    def __init__(
        self, network: nn.Module, numbers: Mapping[str, int], observer: Observer | None, values: list[Any], device: Any
    ) -> None:
        self.network = network
        self.numbers = numbers
        self.observer = observer
        self.values = values
        self.device = device


class Plan:
    """A program made ready: shared by all copies of a network, since it holds none of their tensors."""

    def __init__(self, program: Program) -> None:
        self.program = program
        names = [given.name for given in program.inputs] + [each.name for each in program.operations]
        self._slots = {name: number for number, name in enumerate(names)}
        if len(self._slots) != len(names):
            raise SchemaError("a stored network names two values alike", value=names)
        last = _last_uses(program)
        self._steps = [_Step(each, self._slots, last.get(each.name, ())) for each in program.operations]
        self._output = _getter(program.output, self._slots)

    def __deepcopy__(self, memo: object) -> Plan:
        return self

    def __reduce__(self) -> Any:
        return Plan, (self.program,)

    def run(
        self,
        network: nn.Module,
        numbers: Mapping[str, int],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        observer: Observer | None = None,
    ) -> Any:
        """Make all calls on these inputs, with the network's tensors and its channel counts.

        Raises:
            TraceError: inputs of other number or sizes than the program was made with.
        """
        leaves = self._leaves(args, kwargs)
        device = next((leaf.device for leaf in leaves if isinstance(leaf, Tensor)), None)
        values = [*leaves, *[None] * (len(self._slots) - len(leaves))]
        frame = _Frame(network, numbers, observer, values, device)
        for step in self._steps:
            step(frame)
        return self._output(frame)

    def _leaves(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        inputs = self.program.inputs
        names = [given.name for given in inputs[self.program.positional :]]
        if set(kwargs) == set(names):
            kwargs = {name: kwargs[name] for name in names}
        leaves = tree_leaves((args, dict(kwargs)))
        if len(leaves) != len(inputs):
            raise TraceError(f"this network takes {len(inputs)} inputs, not {len(leaves)}", value=len(leaves))
        _check(inputs, leaves)
        return leaves


def _check(inputs: Sequence[ProgramInput], leaves: Sequence[Any]) -> None:
    """Refuse other sizes than the code was traced with: it may hold them, and would compute something else."""
    batch: int | None = None
    for given, leaf in zip(inputs, leaves, strict=True):
        if given.shape is None:
            if leaf != given.constant:
                raise TraceError(f"input {given.name} was {given.constant!r} when traced, not {leaf!r}", value=leaf)
            continue
        shape = tuple(leaf.shape)
        batch = shape[0] if batch is None and shape and given.shape[0] is None else batch
        if shape != tuple(batch if size is None else size for size in given.shape):
            wanted = ", ".join("batch" if size is None else str(size) for size in given.shape)
            raise TraceError(
                f"input {given.name} has shape {list(shape)}; this network was traced with [{wanted}] and its code "
                "holds these sizes: trace it again on an input of the new size",
                value=shape,
            )


class _Step:
    """One call, with its arguments looked up once."""

    def __init__(self, operation: Operation, slots: Mapping[str, int], frees: Sequence[str]) -> None:
        self._out = slots[operation.name]
        self._frees = tuple(slots[name] for name in frees)
        self._operation = operation
        self._arguments = [_getter(argument, slots) for argument in operation.arguments]
        self._keywords = {name: _getter(argument, slots) for name, argument in operation.keywords.items()}
        self._operator: Any = None
        if operation.operator == LAYER:
            self._path = str(operation.arguments[0]).split(".")
        else:
            self._operator = operator_named(operation.operator)
            self._function = function_of(operation.operator, self._operator)

    def __call__(self, frame: _Frame) -> None:
        if self._operator is None:
            out = _walk(frame.network, self._path)(*[get(frame) for get in self._arguments[1:]])
        else:
            arguments = [get(frame) for get in self._arguments]
            keywords = {name: get(frame) for name, get in self._keywords.items()}
            out = self._function(*arguments, **keywords)
            if frame.observer is not None:
                self._observe(frame.observer, arguments, keywords, out)
        frame.values[self._out] = out
        for slot in self._frees:  # activations live as long as they are needed
            frame.values[slot] = None

    def _observe(self, observer: Observer, arguments: list[Any], keywords: dict[str, Any], out: Any) -> None:
        """Tell what the channel counts of this call counted."""
        if not isinstance(self._operator, torch._ops.OpOverload):
            return
        given = bound(self._operator, self._operation.arguments, self._operation.keywords)
        known = bound(self._operator, arguments, keywords)
        for place in places(self._operator.overloadpacket.__name__, known, out):
            argument = given[place.argument]
            argument = argument if place.index is None else argument[place.index]
            if isinstance(argument, Mapping) and "count" in argument:
                observer(argument["count"], place.tensor, place.dim, place.start, place.makes)


def _last_uses(program: Program) -> dict[str, tuple[str, ...]]:
    """Which values nobody needs after each call."""
    last: dict[str, str] = {}
    for each in program.operations:
        for name in _references([*each.arguments, *each.keywords.values()]):
            last[name] = each.name
    kept = set(_references(program.output))
    frees: dict[str, tuple[str, ...]] = {}
    for name, operation in last.items():
        if name not in kept:
            frees[operation] = (*frees.get(operation, ()), name)
    return frees


def _references(argument: Any) -> list[str]:
    if isinstance(argument, Mapping):
        return [str(argument["of"])] if "of" in argument else _references(list(argument.values()))
    if isinstance(argument, (list, tuple)):
        return [name for part in argument for name in _references(part)]
    return []


def _getter(argument: Any, slots: Mapping[str, int]) -> Getter:
    """How to come by an argument when the call is made."""
    if isinstance(argument, (list, tuple)):
        parts = [_getter(part, slots) for part in argument]
        return lambda frame: [get(frame) for get in parts]
    if isinstance(argument, Mapping):
        return _reference(argument, slots)
    return lambda frame: argument


def _reference(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    """What a table stands for (see `tailor.program`).

    Raises:
        SchemaError: a table of an unknown kind, or the result of no call.
    """
    kind = next(iter(argument), "")
    make = _KINDS.get(kind)
    if make is None:
        raise SchemaError(f"a stored network has an argument of an unknown kind: {kind!r}", value=kind)
    return make(argument, slots)


def _value(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    if argument["of"] not in slots:
        raise SchemaError(f"a stored network uses {argument['of']!r}, which nothing makes", value=argument["of"])
    slot = slots[argument["of"]]
    return lambda frame: frame.values[slot]


def _state(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    *owner, name = str(argument["state"]).split(".")
    return lambda frame: getattr(_walk(frame.network, owner), name)


def _count(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    name, sign = str(argument["count"]).partition(".")[2], int(argument["sign"])
    return lambda frame: sign * frame.numbers[name]


def _torch_constant(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    name = str(next(iter(argument.values())))
    constant = getattr(torch, name, None)
    if not isinstance(constant, (torch.dtype, torch.layout, torch.memory_format)):
        raise SchemaError(f"a stored network uses {name!r}, which torch does not have", value=name)
    return lambda frame: constant


def _number(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    number = float(str(argument["float"]))
    return lambda frame: number


def _sequence(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    make = tuple if "tuple" in argument else list
    parts = [_getter(part, slots) for part in next(iter(argument.values()))]
    return lambda frame: make(get(frame) for get in parts)


def _table(argument: Mapping[str, Any], slots: Mapping[str, int]) -> Getter:
    items = [(key, _getter(part, slots)) for key, part in argument["dict"]]
    return lambda frame: {key: get(frame) for key, get in items}


_KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, int]], Getter]] = {
    "of": _value,
    "state": _state,
    "count": _count,
    "training": lambda argument, slots: lambda frame: frame.network.training,
    "device": lambda argument, slots: lambda frame: frame.device,
    "float": _number,
    "tuple": _sequence,
    "list": _sequence,
    "dict": _table,
    **dict.fromkeys(("dtype", "layout", "memory_format"), _torch_constant),
}


def _walk(module: nn.Module, path: Sequence[str]) -> Any:
    for name in path:
        module = module._modules[name]  # type: ignore[assignment]
    return module
