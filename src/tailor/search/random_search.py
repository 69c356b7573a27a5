"""Random search: the control that any strategy has to beat at the same number of structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["RandomSearch", "RandomSearchConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearchConfig:
    """How many structures are drawn, and how many at a time."""

    structures: int = 300
    batch: int = 30

    def __post_init__(self) -> None:
        for name in ("structures", "batch"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)


class RandomSearch:
    """Draws feasible structures without looking at any score; structures never repeat."""

    def __init__(self, space: SearchSpace, config: RandomSearchConfig, *, seed: int) -> None:
        self._space = space
        self._config = config
        self._seed = seed
        self._cycle = 0
        self._seen: set[Widths] = set()

    @property
    def planned(self) -> int:
        """The number of structures asked for."""
        return self._config.structures

    @property
    def description(self) -> str:
        """Name and options."""
        return f"random search, seed {self._seed}, {self._config}"

    def ask(self) -> tuple[Proposal, ...]:
        """The next batch; empty when all are drawn or the space has run out."""
        rng = np.random.default_rng((self._seed, self._cycle))
        seen = set(self._seen)
        proposals: list[Proposal] = []
        for _ in range(min(self._config.batch, self._config.structures - len(seen))):
            drawn = self._space.draw(rng, seen)
            if drawn is None:
                break
            seen.add(drawn[0])
            proposals.append(Proposal(widths=drawn[0], origin=drawn[1], cycle=self._cycle))
        return tuple(proposals)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Remember what was drawn."""
        self._seen.update(Widths(trial.widths) for trial in trials)
        self._cycle += 1
