"""Channels that live or die together, the tensors they run through, and the branches they make up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Branch", "ChannelGroup", "IndexArray", "Slot", "TensorSpec"]


IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slot:
    """Where the channels of a group live: positions along one dimension of one parameter or buffer.

    `indices` has shape [width, positions per unit]; `role` is "out" (producer), "in" (consumer) or "per-channel".
    """

    path: str
    dim: int
    role: str
    indices: IndexArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelGroup:
    """Channels that live or die together; `width` counts the units that can be removed one by one.

    `pinned` is the reason why the group may not be cut, or None. `residual` says that an addition ties several
    producers (a residual stream); `mixing` names the norm that mixes these channels, or None. `removable` says that
    they live in a residual branch that may go as a whole: then they may all be removed.
    """

    name: str
    width: int
    quantum: int = 1
    min_width: int = 1
    pinned: str | None = None
    residual: bool = False
    mixing: str | None = None
    removable: bool = False
    slots: tuple[Slot, ...] = ()

    @property
    def producers(self) -> tuple[str, ...]:
        """Paths of the weights whose output channels these are."""
        return tuple(dict.fromkeys(slot.path for slot in self.slots if slot.role == "out"))

    @property
    def channels_per_unit(self) -> int:
        """Output channels of the first producer that one unit stands for."""
        return next((int(s.indices.shape[1]) for s in self.slots if s.role == "out"), 1)

    @property
    def smallest(self) -> int:
        """The smallest width above zero that bounds and quantum allow."""
        if self.pinned is not None:
            return self.width
        smallest = max(1, self.min_width)
        smallest = -(-smallest // self.quantum) * self.quantum
        return min(smallest, self.width)

    def at_least(self, width: int) -> int:
        """The smallest width above zero, this one or more, that bounds and quantum allow; the dense one at most."""
        return min(-(-max(width, self.smallest) // self.quantum) * self.quantum, self.width)

    def allows(self, width: int) -> bool:
        """Whether this width respects pin, bounds and quantum; the dense width always does, zero where removable."""
        if width == 0:
            return self.removable
        return width == self.width or (self.smallest <= width < self.width and width % self.quantum == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A residual branch that can go as a whole: the addition behind it then passes its other operand through.

    `groups` live inside it: all of them are at width 0, or none. `modules` are the calls that it is made of, `tensors`
    the parameters and buffers that go with them. `addition` counts the network's additions of two tensors in the order
    of the run, `operand` (0 or 1) says which of the two the branch is. `pinned` is why it must stay, or None.
    """

    name: str
    groups: tuple[str, ...]
    modules: tuple[str, ...]
    tensors: frozenset[str]
    addition: int
    operand: int
    pinned: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Shape of one parameter or buffer of the dense network."""

    path: str
    shape: tuple[int, ...]
    parameter: bool
