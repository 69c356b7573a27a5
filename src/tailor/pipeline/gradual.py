"""The stage of methods that prune while training: masks in steps down to the limit, then a network ready to be cut."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from torch import nn

from tailor import persist
from tailor.errors import BudgetUnreachableError, DataError
from tailor.importance import Observed, rank
from tailor.latency.anchored import SummedLatency
from tailor.latency.frozen import frozen_factors
from tailor.methods import GradualConfig
from tailor.pipeline.request import Line
from tailor.records import GradualRecord
from tailor.search import KnapsackConfig
from tailor.search.knapsack import knapsack_step, narrowed
from tailor.spec import KeepPlan, Widths
from tailor.training import PruningSchedule, train_gradually, training_device

__all__ = ["pruned_while_training"]

MASKED = "masked"  # the folder of the trained, masked network
_LEAST = 1e-9  # of the largest saliency: what a kept unit without any is worth

Scores = npt.NDArray[np.float64]


def pruned_while_training(
    line: Line, latency: SummedLatency, candidates: Mapping[str, tuple[int, ...]], limit_ns: int
) -> tuple[Line, dict[str, tuple[int, ...]]]:
    """The line with the trained, masked network as what is cut, and the candidates that its masks leave.

    Lines of methods that prune in one shot come back as they are.
    """
    gradual, search = line.method.gradual, line.method.search
    if gradual is None or not isinstance(search, KnapsackConfig):
        return line, dict(candidates)
    place = line.folder.path / MASKED
    record = line.folder.stored("gradual", GradualRecord)
    if record is not None:
        line.console.say("masked network: taken from the run folder")
        source = persist.restore(line.request.model, place)
    else:
        source = copy.deepcopy(line.request.model)
        record = _train(line, latency, source, candidates, limit_ns, gradual, search)
        place.mkdir(exist_ok=True)
        persist.save(source, place)
        line.folder.store("gradual", record)
    widths = {group: len(kept) for group, kept in record.kept.items()}
    left = {group: tuple(width for width in own if width <= widths[group]) for group, own in candidates.items()}
    method = replace(line.method, search=replace(search, steps=1), gradual=None)
    importance = _importance(line, record)
    ranking = rank(source, line.graph, importance)
    return replace(line, source=source.eval(), importance=importance, ranking=ranking, method=method), left


class _Chooser:
    """The knapsack of one step; limits fall geometrically from the dense latency."""

    def __init__(
        self,
        line: Line,
        latency: SummedLatency,
        candidates: Mapping[str, tuple[int, ...]],
        limit_ns: int,
        search: KnapsackConfig,
        *,
        soft: bool,
    ) -> None:
        self._soft = soft
        self._graph = line.graph
        self._latency = latency
        self._candidates = candidates
        self._limit_ns = limit_ns
        self._dense_ns = self._latency.predict(line.graph.dense_widths).ns
        self._search = search
        self.scores: Mapping[str, Scores] = {}

    def __call__(self, step: int, scores: Mapping[str, Scores], kept: KeepPlan) -> KeepPlan:
        """Keep the best units of every group, as many as the step's limit allows."""
        self.scores = scores
        whole = {group.name: tuple(range(group.width)) for group in self._graph.groups}
        order = {group: self._best_first(group, units) for group, units in (whole if self._soft else kept.kept).items()}
        values = {group: self._worth(group, units) for group, units in order.items()}
        share = step / self._search.steps
        widths = self._step(kept.widths, values, self._dense_ns ** (1 - share) * self._limit_ns**share)
        while share == 1 and self._latency.predict(widths).ns > self._limit_ns:  # what the last prices were off
            narrower = narrowed(self._candidates, values, self._latency, widths, self._limit_ns, self._search)
            if narrower == widths:
                break
            widths = narrower
        chosen = {group: tuple(sorted(units[: widths[group]])) for group, units in order.items()}
        return KeepPlan(fingerprint=self._graph.fingerprint, kept=chosen)

    def _best_first(self, group: str, units: tuple[int, ...]) -> list[int]:
        own = self.scores.get(group)
        return list(units) if own is None else sorted(units, key=lambda unit: (-own[unit], unit))

    def _worth(self, group: str, units: list[int]) -> list[float]:
        if group not in self.scores:
            return [0.0] * len(self._candidates[group])
        sums = np.concatenate([[0.0], np.cumsum(self.scores[group][units])])
        return [float(sums[min(width, len(units))]) for width in self._candidates[group]]

    def _step(self, widths: Widths, values: Mapping[str, list[float]], target_ns: float) -> Widths:
        """Prices are taken at the present widths; soft masks may grow again."""
        if self._soft:
            factors = frozen_factors(self._latency, self._candidates, widths, side=self._search.side)
            worth = {group: tuple(own) for group, own in values.items()}
            try:
                return knapsack_step(self._candidates, worth, factors, round(target_ns), solver=self._search.solver)
            except BudgetUnreachableError:
                return Widths({group: own[0] for group, own in self._candidates.items()})
        return narrowed(self._candidates, values, self._latency, widths, target_ns, self._search)


def _train(
    line: Line,
    latency: SummedLatency,
    source: nn.Module,
    candidates: Mapping[str, tuple[int, ...]],
    limit_ns: int,
    gradual: GradualConfig,
    search: KnapsackConfig,
) -> GradualRecord:
    request, started = line.request, time.perf_counter()
    if request.data is None:
        raise DataError(f"{line.method.name} prunes while the network trains, which needs data", value=line.method.name)
    schedule = PruningSchedule(
        saliency=line.method.importance, steps=search.steps, interval=gradual.interval, soft=gradual.soft,
        settling=gradual.settling,
    )
    line.console.stage(f"prune while training: {schedule.iterations} iterations, {search.steps} steps")
    chooser = _Chooser(line, latency, candidates, limit_ns, search, soft=gradual.soft)
    kept = train_gradually(
        source,
        line.graph,
        request.data,
        replace(request.recipe, learning_rate=gradual.learning_rate, seed=request.seed),
        schedule,
        chooser,
        device=training_device(),
        progress=line.console.progress,
    )
    scores = {group: tuple(map(float, own)) for group, own in chooser.scores.items()}
    return GradualRecord(
        kept=kept.kept, scores=scores, iterations=schedule.iterations, seconds=time.perf_counter() - started
    )


def _importance(line: Line, record: GradualRecord) -> Observed:
    """The last saliencies; removed units are worth nothing, and every kept one is worth more than that."""
    scores = {}
    for group in line.graph.prunable:
        own = np.array(record.scores[group.name])
        kept = np.zeros(group.width)
        kept[list(record.kept[group.name])] = 1.0
        scores[group.name] = kept * (own + _LEAST * max(1.0, float(own.max())))
    return Observed(name=f"{line.method.importance} while training", scores=scores)
