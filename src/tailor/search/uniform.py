"""One keep ratio for all groups: the control that knows nothing of the network or the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tailor.search.ladder import check_ladder, rungs
from tailor.search.once import Once
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Uniform", "UniformConfig"]

_HALVINGS = 40  # of the ratio: far finer than any width


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformConfig:
    """How many structures: the widest at the limit, and those at limits that are each tighter by a share of it."""

    structures: int = 8
    step: float = 0.01

    def __post_init__(self) -> None:
        check_ladder(self.structures, self.step)


class Uniform(Once):
    """Proposes the largest ratio at which the network keeps the limit, and those for slightly tighter ones."""

    _origin = "uniform"

    def __init__(self, space: SearchSpace, config: UniformConfig) -> None:
        super().__init__()
        self._space = space
        self._config = config

    @property
    def description(self) -> str:
        """Name and options."""
        return f"uniform ratio, {self._config}"

    def _found(self) -> Iterator[Widths]:
        for limit in rungs(self._space.limit_ns, self._config.structures, self._config.step):
            yield self._within(limit)

    def _within(self, limit_ns: float) -> Widths:
        low, high = 0.0, 1.0  # a ratio that keeps the limit (the narrowest does), and one that may not
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._space.latency_ns(self._at(middle)) <= limit_ns else (low, middle)
        return self._at(low)

    def _at(self, ratio: float) -> Widths:
        """Every group's widest candidate up to the ratio, or its narrowest."""
        return Widths(
            {
                group: max((width for width in steps if width <= ratio * steps[-1]), default=steps[0])
                for group, steps in self._space.candidates.items()
            }
        )
