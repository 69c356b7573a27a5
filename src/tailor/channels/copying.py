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
    """Every parameter and buffer once, by state-dict key; parameters first.

    The same as `named_parameters` and `named_buffers`, in one walk instead of four.
    """
    parameters: dict[int, tuple[str, Tensor]] = {}
    buffers: dict[int, tuple[str, Tensor]] = {}
    seen: set[nn.Module] = set()

    def walk(module: nn.Module, prefix: str) -> None:
        seen.add(module)
        for found, own in ((parameters, module._parameters), (buffers, module._buffers)):
            for name, tensor in own.items():
                if tensor is not None and id(tensor) not in found:
                    found[id(tensor)] = (prefix + name, tensor)
        for name, child in module._modules.items():
            if child is not None and child not in seen:
                walk(child, f"{prefix}{name}.")

    walk(model, "")
    return dict([*parameters.values(), *buffers.values()])


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
    kind: Any = type(value)
    if kind in _ATOMIC:
        return value
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, nn.Module) and _ordinary(kind):
        new = object.__new__(kind)
        memo[id(value)] = new
        own = new.__dict__
        for name, part in vars(value).items():
            if name == "_compiled_call_impl":
                continue  # it calls the original: a copy that was cut would still compute the dense network
            own[name] = part if type(part) in _ATOMIC else _copied(part, memo)
        return new
    if kind is dict or kind is OrderedDict:
        table = memo[id(value)] = kind()
        for key, part in value.items():
            table[key] = _copied(part, memo)
        return table
    if (kind is tuple or kind is set) and all(type(part) in _ATOMIC for part in value):
        return value if kind is tuple else memo.setdefault(id(value), set(value))
    return copy.deepcopy(value, memo)


@functools.cache
def _ordinary(kind: Any) -> bool:
    """Whether a module class copies by its `__dict__` alone; PyTorch's own `__setstate__` only mends old pickles."""
    if hasattr(kind, "__deepcopy__") or any("__slots__" in vars(base) for base in getattr(kind, "__mro__", ())):
        return False
    pickling = ("__reduce__", "__reduce_ex__", "__getstate__", "__new__")
    inherited = all(_find(kind, name) in (_find(nn.Module, name), _find(object, name)) for name in pickling)
    return inherited and _find(kind, "__setstate__").__module__.startswith("torch.nn.")


def _find(kind: Any, name: str) -> Any:
    return getattr(kind, name, None)
