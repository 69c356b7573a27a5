"""The operators that a program may call: PyTorch's own tensor operators, and arithmetic on sizes. Nothing else runs.

A program is read from a file, so a name in it must never reach anything but arithmetic on tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tailor.errors import SchemaError

__all__ = ["function_of", "operator_named", "operator_text"]


def _size(x: Tensor, dim: int) -> Any:
    """One size, in a way that tracers follow: they would take the operator's answer for a constant."""
    return x.shape[dim]


# The same operators by the doors that tracers watch: there, a size that depends on the batch goes on depending on it.
_WATCHED: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": _size,
    "aten.view.default": Tensor.view,
    "aten.reshape.default": Tensor.reshape,
    "aten.expand.default": Tensor.expand,
    "aten.zeros.default": torch.zeros,
    "aten.ones.default": torch.ones,
}

_ON_SIZES: dict[str, Callable[..., Any]] = {
    f"operator.{function.__name__}": function
    for function in (
        operator.getitem,
        operator.add,
        operator.sub,
        operator.mul,
        operator.floordiv,
        operator.truediv,
        operator.mod,
        operator.neg,
        operator.pow,
    )
}
_MAKER_NAMES = "zeros ones empty full arange scalar_tensor linspace eye rand randn randint randperm"
_MAKERS = frozenset(_MAKER_NAMES.split())


def operator_text(target: Any) -> str | None:
    """How a program names an exported call's target, None where it may not be in a program."""
    if isinstance(target, torch._ops.OpOverload):
        text = str(target)
        return text if _allowed(target) else None
    return next((text for text, function in _ON_SIZES.items() if function is target), None)


def operator_named(text: str) -> Callable[..., Any]:
    """The operator of this name.

    Raises:
        SchemaError: there is none, or a program may not call it.
    """
    if text in _ON_SIZES:
        return _ON_SIZES[text]
    parts = text.split(".")
    found: Any = None
    if len(parts) == 3 and parts[0] == "aten":
        packet = getattr(torch.ops.aten, parts[1], None)
        found = getattr(packet, parts[2], None)
    if not isinstance(found, torch._ops.OpOverload) or not _allowed(found):
        raise SchemaError(f"no operator {text!r} that a stored network may call", value=text)
    return found


def function_of(text: str, operator: Callable[..., Any]) -> Callable[..., Any]:
    """What is called for an operator of this name: itself, or what does the same and can be traced through."""
    return _WATCHED.get(text, operator)


def _allowed(found: torch._ops.OpOverload) -> bool:
    """Works on tensors, or makes a fresh one; `from_file`, which reads what its argument names, does neither."""
    if found.namespace != "aten":
        return False
    makes = found.overloadpacket.__name__ in _MAKERS
    return makes or any("Tensor" in str(argument.type) for argument in found._schema.arguments)
