"""The part that strategies share which draw structures without looking at any score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set

import numpy as np

from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Drawn"]


class Drawn(ABC):
    """So many structures in batches, each batch from a stream of its own (seed, batch); structures never repeat."""

    def __init__(self, space: SearchSpace, *, structures: int, batch: int, seed: int) -> None:
        self._space = space
        self._structures = structures
        self._batch = batch
        self._seed = seed
        self._cycle = 0
        self._seen: set[Widths] = set()

    @abstractmethod
    def _draw(self, rng: np.random.Generator, seen: Set[Widths]) -> tuple[Widths, str] | None:
        """A structure not seen before and how it was drawn, None when there is none left."""

    @property
    def planned(self) -> int:
        """The number of structures asked for."""
        return self._structures

    def ask(self) -> tuple[Proposal, ...]:
        """The next batch; empty when all are drawn or the space has run out."""
        rng = np.random.default_rng((self._seed, self._cycle))
        seen = set(self._seen)
        proposals: list[Proposal] = []
        for _ in range(min(self._batch, self._structures - len(seen))):
            drawn = self._draw(rng, seen)
            if drawn is None:
                break
            seen.add(drawn[0])
            proposals.append(Proposal(widths=drawn[0], origin=drawn[1], cycle=self._cycle))
        return tuple(proposals)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Remember what was drawn."""
        self._seen.update(Widths(trial.widths) for trial in trials)
        self._cycle += 1
