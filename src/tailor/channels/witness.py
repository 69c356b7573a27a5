"""What a network looks at before it picks by value: compared beside its outputs, which may be empty.

A detector with random weights finds nothing, and two empty answers prove nothing. What its scores and boxes were is
told by what goes into the operators that pick.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tailor.channels.rules.call import tensors_in
from tailor.channels.rules.selection import PICKS

__all__ = ["Watchman", "Witnesses"]

_COMPARISONS = frozenset(["gt", "ge", "lt", "le", "eq", "ne"])


class Watchman(TorchDispatchMode):
    """Sees whether a run picks by value, and nothing else."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.picks = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode, and guarding against it imports a compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name == "index" and any(index.dtype is torch.bool for index in tensors_in(args[1:]))
        self.picks = self.picks or masked or name in PICKS
        return func(*args, **(kwargs or {}))


class Witnesses(TorchDispatchMode):
    """Keeps every floating-point tensor that is compared or picked from, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode, and guarding against it imports a compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in PICKS or name in _COMPARISONS:
            self.tensors += [tensor.clone() for tensor in tensors_in(args) if tensor.is_floating_point()]
        return func(*args, **(kwargs or {}))
