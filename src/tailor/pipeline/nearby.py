"""Structures near measured ones, moved to the limit: the best of a search usually take a little more than predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tailor.finalists import Finalist
from tailor.latency.anchored import AnchoredLatency
from tailor.pipeline.task import SearchTask
from tailor.protocols import Proposal
from tailor.records import NEAR, Trial
from tailor.search import Journal, SearchProblem, SearchResult, try_more
from tailor.spec import Widths

__all__ = ["Nearby"]

_PARENTS, _EACH = 3, 8  # finalists of a session that others are tried near to, and how many of these each


class Nearby:
    """Narrows or widens finalists in random groups until they take the limit, as their own measurement tells it.

    A search prefers structures whose latency is predicted too low, so its best ones tend to measure over the limit.
    How far the prediction of one is off, structures a few steps away from it are off, too. `result` is the search's
    with what was tried here; a resumed search brings what was tried before it was stopped.
    """

    def __init__(
        self, task: SearchTask, latency: AnchoredLatency, problem: SearchProblem, journal: Journal, result: SearchResult
    ) -> None:
        self._task = task
        self._space = problem.space(latency)
        self._problem = problem
        self._journal = journal
        self.result = result

    @property
    def searched(self) -> tuple[Trial, ...]:
        """The strategy's own trials."""
        return tuple(trial for trial in self.result.trials if not trial.origin.startswith(NEAR))

    def __call__(self, finalists: Sequence[Finalist]) -> list[tuple[Trial, float]]:
        """The first few finalists, each moved to the limit in several ways and scored."""
        found: list[tuple[Trial, float]] = []
        for parent in finalists[:_PARENTS]:
            error = parent.ratio.high * self._task.profiled.dense_ns / parent.trial.latency.ns
            found += [(trial, error) for trial in self._children(parent, round(self._task.limit_ns / error))]
        return found

    def _children(self, parent: Finalist, limit_ns: int) -> list[Trial]:
        origin = f"{NEAR}{parent.trial.number}"
        if not any(trial.origin == origin for trial in self.result.trials):
            proposals = self._moved(parent.trial, limit_ns, origin)
            self.result = try_more(self._problem, self.result, proposals, journal=self._journal)
        return [trial for trial in self.result.trials if trial.origin == origin]

    def _moved(self, parent: Trial, limit_ns: int, origin: str) -> list[Proposal]:
        """New structures as wide as this limit on predictions allows; fewer where few are near."""
        space = self._space.within(limit_ns)
        rng = np.random.default_rng((self._problem.seed, parent.number))
        tried = {Widths(trial.widths) for trial in self.result.trials}
        moved: dict[Widths, None] = {}
        for _ in range(_EACH):
            narrowed = space.narrowed(Widths(parent.widths), rng)
            if narrowed is not None and (widths := space.filled(narrowed, rng)) not in tried:
                moved[widths] = None
        return [Proposal(widths=widths, origin=origin, cycle=parent.cycle, beyond=True) for widths in moved]
