"""Chooses which channel counts to measure next, so that few points settle all edges of a staircase.

First a grid of twelve that tells blocks apart. Then, where parametric stairs describe every point: the counts at which
rival stairs disagree, the border between two kernels, and a check beside an edge in every quarter, which gates the
fit (an unnoticed change of kernel would otherwise fail silently). Where no stairs hold, which may be below them only:
gaps are halved. Stairs that hold for all but the widest count must hold for the one beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tailor.latency.regimes import ODD, Regime, regime_costs
from tailor.latency.staircase import Point, fit_staircase, monotone_levels, point_errors, regimes_of
from tailor.timing import claimable_step

__all__ = ["coarse_grid", "next_probes"]

_COARSE_POINTS = 12  # the first grid of a stair has at most so many points and the smallest
# Wide layers have points enough to look closely at their narrow end, whose steps are the largest in proportion.
_NARROW_END, _NARROW_WIDTH, _NARROW_LIMIT = (2, 3, 4, 5, 8, 9, 12, 13, 16, 17), 384, 30
_BLOCK = 16  # the grid lies on multiples of at most this, and just beside every second one
_EDGE_SPAN = 16  # from this gap on the guess is tried that the edge sits on the left point, a multiple of the block
_RIVAL_COST = 16.0  # a stair whose chi square is worse by no more than this is not yet ruled out
_CHECKS = 4  # predicted edges that must have been seen from both sides


def coarse_grid(width: int, smallest: int = 1, unit: int = 1) -> tuple[int, ...]:
    """The channel counts to measure first: evenly spread, in turn on a multiple of a block and 1 or 4 beyond one."""
    most = width // unit
    block = 1
    while block < _BLOCK // unit and most // (2 * block) >= _COARSE_POINTS:
        block *= 2
    targets = {round(most * place / _COARSE_POINTS / block) for place in range(1, _COARSE_POINTS)}
    beside = (0, 1, 0, min(ODD, block // 2)) if block > 2 else (0,)
    inner = {block * place + beside[number % len(beside)] for number, place in enumerate(sorted(targets))}
    counts = {unit * count for count in inner}
    return tuple(sorted({smallest, width, *(count for count in counts if smallest < count < width)}))


def next_probes(
    points: Sequence[Point],
    width: int,
    resolution: float,
    *,
    smallest: int = 1,
    unit: int = 1,
    at_once: int = 4,
    limit: int = 24,
) -> tuple[int, ...]:
    """Channel counts to measure next, multiples of `unit`; empty when all edges are known or `limit` points are spent.
    """
    if not points:
        grid = coarse_grid(width, smallest, unit)
        if width // unit < _NARROW_WIDTH or limit < _NARROW_LIMIT:
            return grid
        return tuple(sorted({*grid, *(unit * count for count in _NARROW_END if unit * count > smallest)}))
    ordered = sorted(points, key=lambda point: point.channels)
    regimes = regimes_of(ordered, resolution)
    wanted = [width - unit] if regimes is not None and regimes[-1].high < width - unit else []
    wanted += _checks(ordered, regimes, resolution, unit) if regimes is not None else []
    wanted += _halvings(ordered, resolution, unit, below=regimes[0].low if regimes is not None else width)
    known = {point.channels for point in ordered}
    fresh = [count for count in dict.fromkeys(wanted) if count not in known and smallest <= count <= width]
    return tuple(sorted(fresh[: max(0, min(at_once, limit - len(ordered)))]))


def _checks(points: Sequence[Point], regimes: Sequence[Regime], resolution: float, unit: int) -> list[int]:
    """Borders between regimes first, then what rivals disagree on, then edges never seen from both sides."""
    claimable = claimable_step(resolution)
    counts = [point.channels for point in points]
    wanted = [
        count
        for left, right in itertools.pairwise(regimes)
        for count in _border_probe(left, right, counts, claimable, unit)
    ]
    for regime in regimes:
        inside = [point for point in points if regime.low <= point.channels <= regime.high]
        wanted += _rival_probe(regime, inside, resolution, unit)
    alternates = any(regime.alternates for regime in regimes)
    return wanted or _edge_probes(points, resolution, unit, math.lcm(unit, ODD) if alternates else unit)


def _border_probe(left: Regime, right: Regime, counts: Sequence[int], claimable: float, unit: int) -> list[int]:
    """The middle of the gap in which one kernel gives way to another, as long as it matters which one is at work."""
    after = next(count for count in counts if count > left.high)
    gap = range(left.high + unit, after, unit)
    if not gap:
        return []
    said, instead = left.ns(gap), right.ns(gap)
    if float(np.max(np.abs(instead / said - 1))) < claimable:
        return []
    return [_round_middle(left.high, after, unit)]


def _rival_probe(regime: Regime, points: Sequence[Point], resolution: float, unit: int) -> list[int]:
    """Where the best stair of another block, not yet ruled out by these points, differs most from the regime."""
    counts = [point.channels for point in points]
    claimable, errors = claimable_step(resolution), point_errors(points, resolution)
    costs = regime_costs(counts, [point.ns for point in points], errors, claimable=claimable)
    own = min((cost for cost, rival in costs if rival.quantum == regime.quantum), default=math.inf)
    asked = np.arange(counts[0], counts[-1] + 1, unit)
    told = regime.ns(asked)
    doubt = max(claimable / 2, 2 * float(np.mean(errors)))
    for cost, rival in costs:
        if rival.quantum == regime.quantum or cost - own > _RIVAL_COST:
            continue
        gap: npt.NDArray[np.float64] = np.abs(rival.ns(asked) / told - 1)
        gap[np.isin(asked, counts)] = 0.0
        if float(np.max(gap)) > doubt:
            return [int(asked[int(np.argmax(gap))])]
    return []


def _edge_probes(points: Sequence[Point], resolution: float, unit: int, beside: int) -> list[int]:
    """In every quarter of the predicted edges, what is missing to have seen one from both sides, in one kernel."""
    known = {point.channels for point in points}
    edges = np.array(fit_staircase(points, resolution, unit=unit).sharp_edges, dtype=np.int64)
    wanted: list[int] = []
    for quarter in np.array_split(edges, min(_CHECKS, max(1, len(edges)))):
        sides = [(int(edge), int(edge) + beside) for edge in quarter]
        missing = sorted([count for count in pair if count not in known] for pair in sides)
        least = min((len(counts) for counts in missing), default=0)
        wanted += next((counts for counts in missing if len(counts) == least), [])
    return wanted


def _halvings(points: Sequence[Point], resolution: float, unit: int, *, below: int) -> list[int]:
    """One probe in each gap up to `below` whose ends differ by more than may be called noise, the largest drop first.

    In a short gap the guess comes first that the edge is the left point itself: kernels' blocks are powers of two, so
    one probe beside it usually settles the gap.
    """
    levels = monotone_levels([replace(point, channels=point.channels // unit) for point in points], resolution)
    threshold = claimable_step(resolution)
    gaps = [
        (right[1] - left[1], left[0], right[0])
        for left, right in itertools.pairwise(levels)
        if right[0] - left[0] > 1 and right[0] * unit <= below and right[1] / left[1] - 1 > threshold
    ]
    return [unit * _probe_between(low, high) for _, low, high in sorted(gaps, reverse=True)]


def _probe_between(low: int, high: int) -> int:
    """Where to look for the edge in a gap: beside an aligned left end, else at the roundest number near the middle."""
    if high - low <= _EDGE_SPAN and low % 4 == 0:
        return low + 1
    return _round_middle(low, high, 1)


def _round_middle(low: int, high: int, unit: int) -> int:
    """The roundest count near the middle of a gap."""
    first, last = low // unit, high // unit
    block = 1
    while last - first > 4 * block:
        block *= 2
    middle = (first + last) / 2
    inside = list(range(block * (first // block + 1), last, block))
    return unit * (min(inside, key=lambda count: abs(count - middle)) if inside else (first + last) // 2)
