"""What predictions are off by where a search looks: from structures measured before it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from tailor.importance import Observed
from tailor.importance.branches import valued_branches
from tailor.latency.anchored import AnchoredLatency
from tailor.methods import Ground, strategy_of
from tailor.pipeline.request import Line
from tailor.pipeline.task import SearchTask
from tailor.records import Anchor
from tailor.search import Once, SearchSpace
from tailor.spec import Widths

__all__ = ["anchor_of", "anchored", "ground_of"]

STRUCTURES = 4  # measured in one session; their median counts
ROUNDS = 3  # of such sessions: a correction moves the limit to other structures, whose error may be another
_CLOSE = 0.01  # a correction by less than this, or than it is known to, moves it to hardly any
_SLOPES = (0.5, 2.0)  # of measured over predicted latency from round to round: what is beyond is a jump or noise
_DRAWS = 20  # where widths are few, draws are often the same


def anchored(task: SearchTask) -> AnchoredLatency:
    """The profile's latency model, put right at the limit, by what the run folder holds if it was measured before.

    A method that computes its answer is held against its own answers, one that tries many against structures drawn at
    the limit.
    """
    line, plain = task.line, AnchoredLatency(task.profiled.latency, 1.0)
    anchor = line.folder.stored("anchor", Anchor)
    if anchor is None:
        anchor = _measured(task, plain)
        line.folder.store("anchor", anchor)
        line.console.say(
            f"predictions near the limit are put right by {anchor.factor - 1:+.1%} "
            f"({anchor.structures} structures measured there, up to {anchor.spread:.1%} from that)"
        )
    return plain.times(anchor.factor)


def ground_of(line: Line, latency: AnchoredLatency, candidates: Mapping[str, tuple[int, ...]]) -> Ground:
    """What strategies stand on that compute their answer."""
    values = line.ranking.values(candidates, scale=line.method.scale)
    if isinstance(line.importance, Observed):
        values = valued_branches(values, candidates, line.graph, line.importance.branches)
    return Ground(graph=line.graph, latency=latency, values=values)


def _measured(task: SearchTask, plain: AnchoredLatency) -> Anchor:
    """Measured at the limit as the model sees it, and again at the limit as corrected, until little is corrected.

    Structures scatter about the limit, by the model's error and the host's noise: a correction within the error of
    their median is as likely to lead away from it.
    """
    anchor = Anchor()
    known: dict[Widths, float] = {}
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        latency = plain.times(anchor.factor)
        structures = _at_limit(task, latency)
        new = [widths for widths in structures if widths not in known]
        if not new:
            break
        for widths, took in zip(new, task.timer.ratios(new), strict=True):
            known[widths] = took.value * task.profiled.dense_ns / plain.predict(widths).ns
        ratios = [known[widths] for widths in structures]
        ratio = statistics.median(ratios)
        told = statistics.median(plain.predict(widths).ns for widths in structures)
        rounds.append((told, ratio * told))
        before = anchor.factor
        factor = _through(rounds, task.limit_ns) or ratio
        anchor = anchor_of(factor, ratios)
        if abs(factor / before - 1) <= max(_CLOSE, _doubt(ratios)):
            break
    return anchor


def _doubt(ratios: Sequence[float]) -> float:
    """Relative standard error of the ratios' median, from their median absolute deviation: the normal law's factors."""
    middle = statistics.median(ratios)
    deviation = statistics.median(abs(ratio / middle - 1) for ratio in ratios)
    return math.sqrt(math.pi / 2) * 1.4826 * deviation / math.sqrt(len(ratios))


def _through(rounds: Sequence[tuple[float, float]], limit_ns: int) -> float | None:
    """The factor by the line through the two rounds of (predicted, measured) nearest to the limit; None of one round.

    A correction alone need not settle: where the error grows with the network it overshoots and comes back, where it
    falls it creeps.
    """
    nearest = sorted(rounds, key=lambda each: abs(each[1] - limit_ns))[:2]
    told, took = nearest[0]
    if len(nearest) < 2 or nearest[1][0] == told:
        return None
    slope = (nearest[1][1] - took) / (nearest[1][0] - told)
    return limit_ns / (told + (limit_ns - took) / min(max(slope, _SLOPES[0]), _SLOPES[1]))


def anchor_of(factor: float, ratios: Sequence[float]) -> Anchor:
    """The record of a factor that was found from these ratios of measured to predicted latency."""
    spread = max(abs(each / factor - 1) for each in ratios)
    return Anchor(factor=factor, spread=spread, structures=len(ratios))


def _at_limit(task: SearchTask, latency: AnchoredLatency) -> list[Widths]:
    """Structures like those that the search will propose, as the model alone sees the limit."""
    line, space = task.line, SearchSpace(task.candidates, latency, task.limit_ns)
    if not space.feasible(space.narrowest):
        return [space.narrowest]
    strategy = strategy_of(line.method, space, ground_of(line, latency, task.candidates), seed=line.request.seed)
    if isinstance(strategy, Once):
        return strategy.first(STRUCTURES)
    rng = np.random.default_rng(line.request.seed)
    distinct = dict.fromkeys(space.drawn_at_limit(rng) for _ in range(_DRAWS))
    return list(distinct)[:STRUCTURES]
