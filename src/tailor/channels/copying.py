"""A copy of a network in which chosen tensors are replaced: `copy.deepcopy`, several times faster on modules.

A network's copy is made for every candidate and every proof. Almost all that a deep copy walks through are the empty
hook tables and plain numbers of each module; here they are passed by. Whatever is unusual (own `__deepcopy__`, own
pickling, hooks, odd attributes) goes through `copy.deepcopy` itself.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from tailor.errors import CutError

__all__ = ["duplicate", "named_tensors"]

_ATOMIC = frozenset({int, float, complex, bool, str, bytes, type(None), type, torch.dtype, torch.device, torch.Size})


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, by state-dict key; parameters first."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def duplicate(model: nn.Module, replaced: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model with the tensors at these keys replaced; what was shared stays shared.

    Raises:
        CutError: a part of the model cannot be copied; says which type.
    """
    named = named_tensors(model)
    memo: dict[int, Any] = {id(named[path]): tensor for path, tensor in replaced.items()}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:  # a cached activation: deepcopy refuses its history
                memo[id(value)] = value.detach().clone()
    try:
        return cast(nn.Module, _copied(model, memo))
    except (TypeError, RuntimeError, AttributeError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CutError(f"{type(model).__name__} cannot be copied: {words}", value=type(model).__name__) from error


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _ATOMIC:
        return value
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, nn.Module) and _ordinary(kind):
        new = kind.__new__(kind)
        memo[id(value)] = new
        new.__dict__.update({name: _copied(part, memo) for name, part in vars(value).items()})
        return new
    if kind is dict or kind is OrderedDict:
        table = memo[id(value)] = kind()
        for key, part in value.items():
            table[key] = _copied(part, memo)
        return table
    if kind is tuple and all(type(part) in _ATOMIC for part in value):
        return value
    return copy.deepcopy(value, memo)


@functools.cache
def _ordinary(kind: type[nn.Module]) -> bool:
    """Whether a module class copies by its `__dict__` alone; PyTorch's own `__setstate__` only mends old pickles."""
    mends = kind.__setstate__ is nn.Module.__setstate__ or kind.__setstate__.__module__.startswith("torch.nn.")
    plain = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    states = getattr(kind, "__getstate__", None) in (None, getattr(object, "__getstate__", None))
    slots = any("__slots__" in vars(base) for base in kind.__mro__)
    return mends and plain and states and not slots and not hasattr(kind, "__deepcopy__")
