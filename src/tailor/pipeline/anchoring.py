"""What predictions are off by where a search looks: from structures measured before it, or those refused after one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from tailor.finalists import CandidateTimer, Finalist
from tailor.importance import Observed
from tailor.importance.branches import valued_branches
from tailor.latency.anchored import AnchoredLatency
from tailor.latency.profile import Profile
from tailor.methods import Ground, strategy_of
from tailor.pipeline.request import Line
from tailor.records import Anchor, Verdict
from tailor.search import Once, SearchSpace
from tailor.spec import Widths

__all__ = ["TRIALS", "anchored", "corrected_by", "ground_of"]

TRIALS = "trials.jsonl"  # the search's journal in the run folder
SEARCHES = 3  # that may end without a structure within the budget before the run goes on with the fastest one

STRUCTURES = 4  # measured in one session; their median counts
_DRAWS = 20  # where widths are few, draws are often the same


def anchored(
    line: Line, profiled: Profile, timer: CandidateTimer, candidates: Mapping[str, tuple[int, ...]], limit_ns: int
) -> AnchoredLatency:
    """The profile's latency model, put right at the limit, by what the run folder holds if it was measured before.

    A method that computes its answer is held against its own answers, one that tries many against structures drawn at
    the limit.
    """
    anchor = line.folder.stored("anchor", Anchor)
    if anchor is None:
        anchor = _measured(line, profiled, timer, candidates, limit_ns)
        line.folder.store("anchor", anchor)
        line.console.say(
            f"predictions near the limit are put right by {anchor.factor - 1:+.1%} "
            f"({anchor.structures} structures measured, up to {anchor.spread:.1%} from that)"
        )
    return AnchoredLatency(profiled.latency, anchor.factor)


def corrected_by(
    line: Line, profiled: Profile, refused: Sequence[tuple[Finalist, Verdict]], aim_ns: int
) -> AnchoredLatency | None:
    """The model put right by the structures that a fresh process refused as too slow, for another search.

    By what their intervals' upper ends take of the budget (the median): of such structures at least half are not
    proposed again. The finished journal goes. None where no other search would help: the last one was search number
    SEARCHES, latencies are measured and not predicted, or nothing was refused for its latency.
    """
    anchor = line.folder.stored("anchor", Anchor)
    if anchor is None or anchor.search >= SEARCHES or line.method.latency == "measured":
        return None
    taken = [
        (verdict.ratio.high * verdict.dense.value / verdict.limit_ns) * aim_ns / finalist.trial.latency.ns
        for finalist, verdict in refused
        if verdict.ratio.high * verdict.dense.value > verdict.limit_ns
    ]
    if not taken:
        return None
    found = _anchor([anchor.factor * each for each in taken], search=anchor.search + 1)
    (line.folder.path / TRIALS).unlink()  # first: a run that is stopped here searches as before
    line.folder.store("anchor", found)
    line.console.warn(
        f"nothing was confirmed within the budget; predictions are put right by {found.factor - 1:+.1%} now, and the "
        f"search begins anew ({found.search} of at most {SEARCHES})"
    )
    return AnchoredLatency(profiled.latency, found.factor)


def ground_of(line: Line, latency: AnchoredLatency, candidates: Mapping[str, tuple[int, ...]]) -> Ground:
    """What strategies stand on that compute their answer."""
    values = line.ranking.values(candidates, scale=line.method.scale)
    if isinstance(line.importance, Observed):
        values = valued_branches(values, candidates, line.graph, line.importance.branches)
    return Ground(graph=line.graph, latency=latency, values=values)


def _measured(
    line: Line, profiled: Profile, timer: CandidateTimer, candidates: Mapping[str, tuple[int, ...]], limit_ns: int
) -> Anchor:
    plain = AnchoredLatency(profiled.latency, 1.0)
    space = SearchSpace(candidates, plain, limit_ns)
    structures = _at_limit(line, space, plain)
    ratios = timer.ratios(structures)
    factors = [
        ratio.value * profiled.dense_ns / space.latency_ns(widths)
        for widths, ratio in zip(structures, ratios, strict=True)
    ]
    return _anchor(factors, search=1)


def _anchor(factors: Sequence[float], *, search: int) -> Anchor:
    factor = statistics.median(factors)
    spread = max(abs(each / factor - 1) for each in factors)
    return Anchor(factor=factor, spread=spread, structures=len(factors), search=search)


def _at_limit(line: Line, space: SearchSpace, latency: AnchoredLatency) -> list[Widths]:
    """Structures like those that the search will propose, as the model alone sees the limit."""
    if not space.feasible(space.narrowest):
        return [space.narrowest]
    strategy = strategy_of(line.method, space, ground_of(line, latency, space.candidates), seed=line.request.seed)
    if isinstance(strategy, Once):
        return strategy.first(STRUCTURES)
    rng = np.random.default_rng(line.request.seed)
    distinct = dict.fromkeys(space.drawn_at_limit(rng) for _ in range(_DRAWS))
    return list(distinct)[:STRUCTURES]
