"""The stage of methods that prune while training: masks in steps down to the limit, then a network ready to be cut."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from tailor import persist
from tailor.errors import DataError
from tailor.importance import Observed, rank
from tailor.latency.anchored import SummedLatency
from tailor.methods import GradualConfig
from tailor.pipeline.request import Line
from tailor.records import GradualRecord
from tailor.search import KnapsackConfig, StepChooser
from tailor.training import PruningSchedule, train_gradually, training_device

__all__ = ["pruned_while_training"]

MASKED = "masked"  # the folder of the trained, masked network
_LEAST = 1e-9  # of the largest saliency: what a kept unit without any is worth


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
    chooser = StepChooser(line.graph, latency, candidates, limit_ns, search, soft=gradual.soft)
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
