"""Which operator's result went where in one run, and which modules' calls they belong to."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from tailor.calling import Inputs, output_tensors, quiet
from tailor.channels.rules import tensors_in

__all__ = ["Addition", "ModuleCall", "Run", "Step", "WithoutBranches", "followed"]

OUTPUT = -1  # reads what the network returns


@dataclass(slots=True, eq=False)
class Step:
    """One executed operator: the steps that it reads, in the order of its arguments, and those that read it."""

    sources: tuple[int, ...]
    readers: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ModuleCall:
    """One call of a module: its steps are those from `first` to before `last`; `results` are what it returned."""

    module: nn.Module
    parent: int | None
    first: int
    last: int = 0
    results: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """A step that adds two tensors: who made them (None: an input, a parameter), which have the shape of the sum."""

    step: int
    operands: tuple[int | None, int | None]
    whole: tuple[bool, bool]
    caller: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run of a network: steps, module calls and additions, in order."""

    steps: list[Step]
    calls: list[ModuleCall]
    additions: list[Addition]


def followed(model: nn.Module, inputs: Inputs) -> Run:
    """Run the network once in evaluation mode and remember what read what."""
    flow = _Flow()
    handles = [h for module in model.modules() for h in flow.watch(module)]
    try:
        with quiet(model), flow:
            output = model(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    for tensor in output_tensors(output):
        if tensor in flow.made:
            flow.run.steps[flow.made[tensor]].readers.append(OUTPUT)
    return flow.run


class _Flow(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run = Run([], [], [])
        self.made: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self._open: list[int] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode, and guarding against it imports a compiler."""
        return False

    def watch(self, module: nn.Module) -> list[Any]:
        """Hooks that note where the module's calls begin and end."""

        def begin(module: nn.Module, args: Any) -> None:
            parent = self._open[-1] if self._open else None
            self._open.append(len(self.run.calls))
            self.run.calls.append(ModuleCall(module, parent, len(self.run.steps)))

        def end(module: nn.Module, args: Any, output: Any) -> None:
            call = self.run.calls[self._open.pop()]
            call.last = len(self.run.steps)
            call.results = tuple(self.made.get(tensor, OUTPUT) for tensor in output_tensors(output))

        return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = [self.made.get(tensor) for tensor in tensors_in((args, kwargs))]
        out = func(*args, **kwargs)
        number = len(self.run.steps)
        step = Step(sources=tuple(source for source in read if source is not None))
        self.run.steps.append(step)
        for source in step.sources:
            self.run.steps[source].readers.append(number)
        for tensor in tensors_in(out):
            self.made[tensor] = number
        if _adds(func, args):
            whole = tuple(operand.shape == out.shape for operand in args[:2])
            caller = self._open[-1] if self._open else None
            self.run.additions.append(Addition(number, (read[0], read[1]), (whole[0], whole[1]), caller))
        return out


class WithoutBranches(TorchDispatchMode):
    """While it lasts, operands of the run's additions are zero: {number of the addition: operand}."""

    def __init__(self, masked: Mapping[int, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._masked = masked
        self._additions = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode, and guarding against it imports a compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _adds(func, args):
            operand = self._masked.get(self._additions)
            self._additions += 1
            if operand == 0 and func.overloadpacket.__name__ == "add_":  # in place: the caller holds this very tensor
                args[0].zero_()
            elif operand is not None:
                zero = torch.zeros_like(args[operand])
                args = (zero, *args[1:]) if operand == 0 else (args[0], zero, *args[2:])
        return func(*args, **(kwargs or {}))


def _adds(func: Any, args: Any) -> bool:
    """Whether this is an addition of two tensors."""
    return (
        func.overloadpacket.__name__ in ("add", "add_")
        and len(args) > 1
        and isinstance(args[0], Tensor)
        and isinstance(args[1], Tensor)
    )
