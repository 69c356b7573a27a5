"""A network as data: the calls that its forward makes, in order, with every channel count in them named.

What PyTorch's exporter wrote down of a model, as records that JSON can hold. Arguments of a call are constants, lists,
or tables with one key: {"of": value}, the result of an earlier call or an input; {"state": path}, a parameter or
buffer; {"count": path, "sign": 1 or -1}, a channel count; {"training": true}, whether the network trains;
{"device": true}, where the inputs are; {"dtype": name}, {"layout": name}, {"memory_format": name}, {"float": text}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["COUNTS", "LAYER", "RESERVED", "Operation", "Program", "ProgramInput", "ProgramLayer", "with_fixed_counts"]

COUNTS = "channel_counts"  # the submodule of a network that holds its channel counts
RESERVED = (COUNTS, "channel_plan", "channel_program", "channel_observer")  # attributes of a network that executes one
LAYER = "layer"  # the operation that calls a module; its first argument is the module's path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramInput:
    """One input: a tensor's sizes (None for the batch), or, where `shape` is None, a constant."""

    name: str
    shape: tuple[int | None, ...] | None = None
    constant: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramLayer:
    """A module with parameters: `kind` is its class in torch.nn, `options` are its numbers but for channels."""

    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call: the name of its result, the operator, and its arguments."""

    name: str
    operator: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """Inputs, calls and outputs of a network, and what its parameters belong to.

    `positional` counts the inputs that are given by position, the others are given by keyword. `counts` are the
    dense channel counts by the path of the buffer whose length they are. `output` nests the results in
    {"tuple": [...]}, {"list": [...]} and {"dict": [[key, value], ...]}. `frozen` parameters do not train, `transient`
    buffers are in no state dict.
    """

    inputs: tuple[ProgramInput, ...]
    positional: int
    operations: tuple[Operation, ...]
    output: Any
    layers: Mapping[str, ProgramLayer]
    counts: Mapping[str, int]
    parameters: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    transient: tuple[str, ...] = ()


def with_fixed_counts(program: Program, counted: frozenset[str]) -> Program:
    """The program in which only these numbers are channel counts; all others are constants again."""
    fixed = {path: number for path, number in program.counts.items() if path not in counted}

    def settled(argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return [settled(part) for part in argument]
        if isinstance(argument, Mapping) and argument.get("count") in fixed:
            return int(argument["sign"]) * fixed[argument["count"]]
        return argument

    operations = tuple(
        replace(
            each,
            arguments=tuple(settled(argument) for argument in each.arguments),
            keywords={name: settled(argument) for name, argument in each.keywords.items()},
        )
        for each in program.operations
    )
    counts = {path: number for path, number in program.counts.items() if path in counted}
    return replace(program, operations=operations, counts=counts)
