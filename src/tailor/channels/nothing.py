"""What is left of a removed branch: modules that compute nothing, and a result that additions pass by.

The user's forward still runs, line by line. Calls into the branch return `Nothing`; whatever is done to it gives
`Nothing` again, at the price of a Python call; an addition with a tensor is that tensor. No zeros are made, so tracers
and exporters see no trace of the branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["Gone", "Nothing", "Numbers"]

Numbers = Mapping[str, int | tuple[int, ...]]

_ADDITIONS = frozenset({"add", "add_", "__add__", "__radd__", "__iadd__"})
_IN_PLACE = frozenset({"add_", "__iadd__"})
_METHODS = frozenset(
    {
        "clone", "contiguous", "detach", "double", "flatten", "float", "half", "mean", "mul", "mul_", "permute", "relu",
        "relu_", "reshape", "sigmoid", "sigmoid_", "squeeze", "sum", "tanh", "to", "transpose", "type_as", "unflatten",
        "unsqueeze", "view",
    }
)


class Nothing:
    """The result of a removed branch: whatever is computed from it is nothing too, and x + nothing is x."""

    __slots__ = ()

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Absorb what PyTorch is asked to do with it."""
        name = getattr(func, "__name__", "")
        return _sum(name, args, kwargs or {}) if name in _ADDITIONS else cls()

    def __getattr__(self, name: str) -> Callable[..., Nothing]:
        if name not in _METHODS:
            raise AttributeError(f"a removed branch has no {name!r}: nothing was computed")
        return lambda *args, **kwargs: self

    def __add__(self, other: Any) -> Any:
        return _sum("__add__", (self, other), {})

    __radd__ = __iadd__ = __add__

    def _same(self, *_: Any) -> Nothing:
        return self

    __mul__ = __rmul__ = __imul__ = __truediv__ = __neg__ = __getitem__ = __matmul__ = _same


def _sum(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The operand that is a tensor: itself where it was to be changed in place, else a tensor of its own.

    What follows an addition may work in place (ReLU does), and the shortcut's tensor can have other readers.
    """
    first, second = args if len(args) == 2 else (args[0], kwargs.get("other", 0))
    if _is_there(first):
        return first if name in _IN_PLACE else first.clone()
    if _is_there(second):
        scale = kwargs.get("alpha", 1)
        return second.clone() if scale == 1 else torch.mul(second, scale)
    return Nothing()


def _is_there(operand: Any) -> bool:
    """A tensor, or what stands for one while a network is traced; a number added to nothing is nothing."""
    return not isinstance(operand, (Nothing, int, float, complex))


class Gone(nn.Module):
    """Stands where a module of a removed branch stood: takes anything, returns `Nothing`.

    It still answers for the numbers that the module had (`out_channels`, `stride` ...): code beside a branch may ask.
    """

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self.answer(numbers)

    def answer(self, numbers: Numbers) -> None:
        """Have these numbers from now on."""
        self.numbers = dict(numbers)
        for name, value in self.numbers.items():
            setattr(self, name, value)

    @classmethod
    def of(cls, module: nn.Module) -> Gone:
        """In the place of this module."""
        public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        return cls({name: value for name, value in public.items() if _is_number(value)}).train(module.training)

    def forward(self, *args: Any, **kwargs: Any) -> Nothing:
        """Compute nothing."""
        return Nothing()


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is tuple and bool(value) and all(type(part) is int for part in value))
