"""One keep ratio for all groups: the control that knows nothing of the network or the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Uniform", "UniformConfig"]

_HALVINGS = 40  # of the ratio: far finer than any width


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformConfig:
    """Nothing to choose."""


class Uniform:
    """Proposes one structure: the largest ratio at which the network keeps the limit."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._done = False

    @property
    def planned(self) -> int:
        """One."""
        return 1

    @property
    def description(self) -> str:
        """Name."""
        return "uniform ratio"

    def ask(self) -> tuple[Proposal, ...]:
        """The structure; empty once it was told."""
        if self._done:
            return ()
        low, high = 0.0, 1.0  # a ratio that keeps the limit (the narrowest does), and one that may not
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._space.feasible(self._at(middle)) else (low, middle)
        return (Proposal(widths=self._at(low), origin="uniform", cycle=0),)

    def tell(self, trials: Sequence[Trial]) -> None:
        """One is enough."""
        self._done = True

    def _at(self, ratio: float) -> Widths:
        """Every group's widest candidate up to the ratio, or its narrowest."""
        return Widths(
            {
                group: max((width for width in steps if width <= ratio * steps[-1]), default=steps[0])
                for group, steps in self._space.candidates.items()
            }
        )
