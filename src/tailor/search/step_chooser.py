"""Pruning while training, one step of it: which units every group keeps, as many as the step's limit allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tailor.errors import BudgetUnreachableError
from tailor.latency.frozen import FrozenModel, frozen_factors
from tailor.search.filling import filled
from tailor.search.knapsack import KnapsackConfig, knapsack_step, narrowed
from tailor.search.space import SearchSpace
from tailor.spec import KeepPlan, Widths

__all__ = ["StepChooser"]

Scores = npt.NDArray[np.float64]
Values = Mapping[str, list[float]]


class _Graph(Protocol):
    """What is asked of the channel graph."""

    @property
    def dense_widths(self) -> Widths: ...

    @property
    def fingerprint(self) -> str: ...


class StepChooser:
    """The knapsack of one step; limits fall geometrically from the dense latency to `limit_ns`.

    Prices are taken at the present widths. Hard masks keep what the step before kept or less of it, soft ones may grow
    again. `scores` are the saliencies that the last step saw, one per unit of every group.
    """

    def __init__(
        self,
        graph: _Graph,
        latency: FrozenModel,
        candidates: Mapping[str, tuple[int, ...]],
        limit_ns: int,
        config: KnapsackConfig,
        *,
        soft: bool,
    ) -> None:
        self._soft = soft
        self._dense = graph.dense_widths
        self._fingerprint = graph.fingerprint
        self._latency = latency
        self._candidates = candidates
        self._limit_ns = limit_ns
        self._dense_ns = latency.predict(self._dense).ns
        self._config = config
        self.scores: Mapping[str, Scores] = {}

    def __call__(self, step: int, scores: Mapping[str, Scores], kept: KeepPlan) -> KeepPlan:
        """Keep the best units of every group, as many as the step's limit allows."""
        self.scores = scores
        whole = {group: tuple(range(width)) for group, width in self._dense.items()}
        order = {group: self._best_first(group, units) for group, units in (whole if self._soft else kept.kept).items()}
        values = {group: self._worth(group, units) for group, units in order.items()}
        share = step / self._config.steps
        target = self._dense_ns ** (1 - share) * self._limit_ns**share
        widths = self._step(kept.widths, values, target)
        while share == 1 and self._latency.predict(widths).ns > self._limit_ns:  # what the last prices were off
            narrower = narrowed(self._candidates, values, self._latency, widths, self._limit_ns, self._config)
            if narrower == widths:
                break
            widths = narrower
        if self._config.fill:
            widths = self._filled(widths, values, kept.widths, target)
        chosen = {group: tuple(sorted(units[: widths[group]])) for group, units in order.items()}
        return KeepPlan(fingerprint=self._fingerprint, kept=chosen)

    def _best_first(self, group: str, units: tuple[int, ...]) -> list[int]:
        own = self.scores.get(group)
        return list(units) if own is None else sorted(units, key=lambda unit: (-own[unit], unit))

    def _worth(self, group: str, units: list[int]) -> list[float]:
        if group not in self.scores:
            return [0.0] * len(self._candidates[group])
        sums = np.concatenate([[0.0], np.cumsum(self.scores[group][units])])
        return [float(sums[min(width, len(units))]) for width in self._candidates[group]]

    def _step(self, widths: Widths, values: Values, target_ns: float) -> Widths:
        if not self._soft:
            return narrowed(self._candidates, values, self._latency, widths, target_ns, self._config)
        factors = frozen_factors(self._latency, self._candidates, widths, side=self._config.side)
        worth = {group: tuple(own) for group, own in values.items()}
        try:
            return knapsack_step(self._candidates, worth, factors, round(target_ns), solver=self._config.solver)
        except BudgetUnreachableError:
            return Widths({group: own[0] for group, own in self._candidates.items()})

    def _filled(self, widths: Widths, values: Values, before: Widths, target_ns: float) -> Widths:
        """What the step's prices overshot by goes back, to hard masks no more than they had."""
        most = self._dense if self._soft else before
        left = {group: tuple(each for each in own if each <= most[group]) for group, own in self._candidates.items()}
        space = SearchSpace(left, self._latency, round(target_ns))
        if not space.feasible(widths):
            return widths
        prices = frozen_factors(self._latency, left, widths, side=self._config.side)
        return filled(space, values, prices, widths, target_ns)
