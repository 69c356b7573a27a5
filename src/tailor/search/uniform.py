"""One keep ratio for all groups: the control that knows nothing of the network or the device."""

from __future__ import annotations

from dataclasses import dataclass

from tailor.search.once import Once
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Uniform", "UniformConfig"]

_HALVINGS = 40  # of the ratio: far finer than any width


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformConfig:
    """Nothing to choose."""


class Uniform(Once):
    """Proposes one structure: the largest ratio at which the network keeps the limit."""

    _origin = "uniform"

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._space = space

    @property
    def description(self) -> str:
        """Name."""
        return "uniform ratio"

    def _found(self) -> list[Widths]:
        low, high = 0.0, 1.0  # a ratio that keeps the limit (the narrowest does), and one that may not
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._space.feasible(self._at(middle)) else (low, middle)
        return [self._at(low)]

    def _at(self, ratio: float) -> Widths:
        """Every group's widest candidate up to the ratio, or its narrowest."""
        return Widths(
            {
                group: max((width for width in steps if width <= ratio * steps[-1]), default=steps[0])
                for group, steps in self._space.candidates.items()
            }
        )
