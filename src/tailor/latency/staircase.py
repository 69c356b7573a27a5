"""Fits the treads of a latency staircase to few noisy points: where narrowing a layer begins to pay.

Kernels work in blocks, so latency against channel count is flat within a block and jumps at its edge. The widest
layer of a tread costs what the narrowest does: treads' right edges are the only widths worth trying.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tailor.errors import MeasurementError
from tailor.latency.regimes import ODD, QUANTA, Regime, explain
from tailor.timing import claimable_step

__all__ = [
    "Point",
    "Staircase",
    "Tread",
    "fit_staircase",
    "monotone_levels",
    "point_errors",
    "quantum_of",
    "regimes_of",
    "stair_levels",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured channel count: ns per call, and the relative standard error of that number."""

    channels: int
    ns: int
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tread:
    """Channel counts from `low` to `right_edge` that cost the same `ns` after padding up, as far as can be told.

    `sharp` says that the next tread begins with a jump between neighbouring channel counts that may be claimed, seen on
    both sides or known from the kernel's block; a slope, and an edge lying somewhere in a gap, are cut into treads that
    are not.
    """

    low: int
    right_edge: int
    ns: int
    sharp: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """A monotone step fit: ascending treads, and the points, the resolution and the stairs they rest on.

    `regimes` are the parametric stairs that describe every point, but for the narrowest and the widest one at most; the
    points beyond them, or all where there are none, are taken as they are.
    """

    points: tuple[Point, ...]
    treads: tuple[Tread, ...]
    resolution: float
    regimes: tuple[Regime, ...] = ()

    def at(self, channels: int) -> int:
        """Effective latency in ns: the price of the first tread wide enough (padding up is always possible).

        Wider than everything measured is priced in proportion to the last tread.
        """
        last = self.treads[-1]
        if channels > last.right_edge:
            return round(last.ns * channels / last.right_edge)
        return self.treads[bisect.bisect_left(self.edges, channels)].ns

    @property
    def edges(self) -> tuple[int, ...]:
        """Right edges of the treads: the most channels at each price."""
        return tuple(tread.right_edge for tread in self.treads)

    @property
    def sharp_edges(self) -> tuple[int, ...]:
        """Right edges after which the latency jumps, the width itself left out."""
        return tuple(tread.right_edge for tread in self.treads[:-1] if tread.sharp)

    def free_channels(self, channels: int) -> int:
        """How many channels more cost nothing: from here to the right edge of the tread."""
        index = bisect.bisect_left(self.edges, channels)
        return self.treads[index].right_edge - channels if index < len(self.treads) else 0


@dataclass(slots=True)
class _Block:
    """Neighbouring points pooled into one level; `weight` is the inverse relative variance of the level."""

    high: int
    level: float
    weight: float


def fit_staircase(points: Sequence[Point], resolution: float, *, unit: int = 1) -> Staircase:
    """The monotone step function through the points whose every step is large enough to be claimed.

    Counts that a wider layer beats beyond the noise are dropped (padding up), the rest is pooled by isotonic
    regression. Where parametric stairs describe the points, they speak for the channel counts in between (multiples
    of `unit`), and every tread is the widest that costs at least a claimable step, max(3 x resolution, 1 %), less than
    the next. Elsewhere neighbouring levels are merged, the closest first, until every step is as large as that and as
    four standard errors of the levels it separates. Noise alone yields one tread.

    Raises:
        MeasurementError: there are no points, or two of the same channel count.
    """
    ordered = _ordered(points)
    claimable = claimable_step(resolution)
    regimes = regimes_of(ordered, resolution) or ()
    curve = _filled(ordered, regimes, resolution, unit) if regimes else ordered
    levels = _isotonic(_not_beaten(curve, resolution))
    blocks = _stepped(levels, regimes, claimable)
    lows = [ordered[0].channels, *(block.high + 1 for block in blocks)]
    known = [point.channels for point in curve]
    treads = tuple(
        Tread(
            low=low,
            right_edge=block.high,
            ns=round(block.level),
            sharp=_is_sharp(curve, known, block.high, unit, claimable),
        )
        for low, block in zip(lows, blocks, strict=False)
    )
    return Staircase(points=ordered, treads=treads, resolution=resolution, regimes=regimes)


def regimes_of(points: Sequence[Point], resolution: float) -> tuple[Regime, ...] | None:
    """The parametric stairs that describe every point (see `explain`), None where none do.

    Spikes, that is points that a wider layer beats by more than a claimable step beyond the noise, may be left out; if
    that is not enough, the narrowest points; then the widest one, a spike that nothing wider can tell from a step:
    where rows of 512 channels fall on each other in the cache, a layer of 512 is a third slower than one of 511.
    """
    ordered = _ordered(points)
    claimable = claimable_step(resolution)
    kept = {block.high for block in _not_beaten(ordered, resolution, margin=claimable)}
    smooth = tuple(point for point in ordered if point.channels in kept)
    choices = itertools.product((False, True), (True, False), dict.fromkeys((ordered, smooth)))
    for without_widest, narrow_end, every in choices:
        chosen = every[:-1] if without_widest else every
        found = explain(
            [point.channels for point in chosen],
            [point.ns for point in chosen],
            point_errors(chosen, resolution),
            claimable=claimable,
            narrow_end=narrow_end,
        )
        if found is not None:
            return found
    return None


def point_errors(points: Sequence[Point], resolution: float) -> list[float]:
    """Relative standard error per point: two copies of one layer differ by the resolution, whatever the spread says."""
    return [max(point.noise, resolution / 2, 1e-4) for point in points]


def monotone_levels(points: Sequence[Point], resolution: float) -> tuple[tuple[int, float], ...]:
    """(channels, ns) of the padded-up, isotonic curve at each point: what lies between may be interpolated.

    Raises:
        MeasurementError: there are no points, or two of the same channel count.
    """
    ordered = _ordered(points)
    blocks = _isotonic(_not_beaten(ordered, resolution))
    highs = [block.high for block in blocks]
    return tuple((p.channels, blocks[bisect.bisect_left(highs, p.channels)].level) for p in ordered)


def stair_levels(staircase: Staircase, *, unit: int = 1) -> tuple[tuple[int, float], ...]:
    """(channels, ns) of the monotone curve: at every channel count where stairs describe it, else at each point."""
    curve = _filled(staircase.points, staircase.regimes, staircase.resolution, unit)
    return monotone_levels(curve, staircase.resolution)


def quantum_of(staircase: Staircase) -> int:
    """The channel block q whose padding a + b * ceil(c / q) * q explains the points best; 1 when none does.

    Of parametric stairs that describe every point it is the block of the widest regime. Otherwise a block is only
    believed when it halves the squared error of the unpadded line.
    """
    if staircase.regimes:
        return max(staircase.regimes, key=lambda regime: regime.high - regime.low).quantum
    points = staircase.points
    if len(staircase.treads) < 2 or len(points) < 5:
        return 1
    plain = _padding_error(points, 1)
    width = points[-1].channels
    errors = {quantum: _padding_error(points, quantum) for quantum in QUANTA if 2 * quantum <= width}
    best = min(errors, key=lambda quantum: errors[quantum], default=1)
    return best if best != 1 and errors[best] < plain / 2 else 1


def _ordered(points: Sequence[Point]) -> tuple[Point, ...]:
    ordered = tuple(sorted(points, key=lambda point: point.channels))
    if not ordered or len({point.channels for point in ordered}) != len(ordered):
        counts = [point.channels for point in ordered]
        raise MeasurementError(f"a staircase needs points of distinct channel counts, not {counts}", value=counts)
    return ordered


def _filled(
    points: Sequence[Point], regimes: Sequence[Regime], resolution: float, unit: int
) -> tuple[Point, ...]:
    """The points beyond the stairs, and what these say at every channel count between, padded up."""
    errors = dict(zip((point.channels for point in points), point_errors(points, resolution), strict=True))
    above = [point for point in points if regimes and point.channels > regimes[-1].high]
    said: list[Point] = []
    cheapest = math.inf
    for regime in reversed(regimes):
        counts = [*range(-(-regime.low // unit) * unit, regime.high + 1, unit)]
        inside = [error for channels, error in errors.items() if regime.low <= channels <= regime.high]
        noise = float(np.mean(inside)) / math.sqrt(max(1, len(inside) - 3))
        for channels, ns in zip(reversed(counts), reversed(regime.ns(counts).tolist()), strict=True):
            cheapest = min(cheapest, ns)
            said.append(Point(channels=channels, ns=round(cheapest), noise=noise))
    below = (point for point in points if not regimes or point.channels < regimes[0].low)
    return (*below, *reversed(said), *above)


def _is_sharp(curve: Sequence[Point], known: Sequence[int], edge: int, unit: int, claimable: float) -> bool:
    """Whether the curve jumps behind this channel count, by a claimable step more than it rose before it."""
    place = bisect.bisect_right(known, edge)
    if place >= len(curve):
        return True
    left, right = curve[place - 1], curve[place]
    cheapest = min(point.ns for point in curve[place : place + ODD])
    before = left.ns / curve[place - 2].ns - 1 if place > 1 and left.channels - curve[place - 2].channels <= unit else 0
    return right.channels - left.channels <= unit and cheapest / left.ns - 1 - max(0.0, before) >= claimable


def _not_beaten(points: Sequence[Point], resolution: float, *, margin: float = 0.0) -> list[_Block]:
    """The points that no wider one beats by more than 3 sqrt(2) standard errors, as blocks of their own.

    Plain suffix minima would follow the luckiest noise downwards.
    """
    kept: list[_Block] = []
    cheapest = math.inf
    for point in reversed(points):
        error = max(point.noise, resolution / 2, 1e-4)
        if point.ns > cheapest * (1 + margin + 3 * math.sqrt(2) * error):
            continue
        kept.append(_Block(point.channels, float(point.ns), 1 / error**2))
        cheapest = min(cheapest, point.ns)
    return kept[::-1]


def _isotonic(blocks: Sequence[_Block]) -> list[_Block]:
    """Pool adjacent violators: the closest non-decreasing levels in weighted least squares."""
    pooled: list[_Block] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and pooled[-2].level >= pooled[-1].level:
            right = pooled.pop()
            pooled[-1] = _pool(pooled[-1], right)
    return pooled


def _stepped(levels: Sequence[_Block], regimes: Sequence[Regime], claimable: float) -> list[_Block]:
    """The levels of the treads: below the stairs of what was measured, in the stairs of what they say."""
    first = next((n for n, level in enumerate(levels) if regimes and level.high >= regimes[0].low), len(levels))
    if first == len(levels):
        return _merged(levels, claimable)
    stairs = _descended(levels[first:], claimable)
    return [*_merged([*levels[:first], stairs[0]], claimable), *stairs[1:]]


def _descended(blocks: Sequence[_Block], claimable: float) -> list[_Block]:
    """From the widest down, the next one each time that is cheaper by a claimable step: no jump is passed over."""
    kept = [blocks[-1]]
    for block in reversed(blocks):
        if block.level * (1 + claimable) <= kept[-1].level:
            kept.append(block)
    return kept[::-1]


def _merged(blocks: Sequence[_Block], claimable: float) -> list[_Block]:
    """Merge the closest neighbours until every step may be claimed."""
    levels = list(blocks)
    excess = np.array([_step_excess(left, right, claimable) for left, right in itertools.pairwise(levels)])
    while len(excess) and excess[closest := int(np.argmin(excess))] < 0:
        levels[closest : closest + 2] = [_pool(levels[closest], levels[closest + 1])]
        excess = np.delete(excess, closest)
        for place in (closest - 1, closest):
            if 0 <= place < len(excess):
                excess[place] = _step_excess(levels[place], levels[place + 1], claimable)
    return levels


def _step_excess(left: _Block, right: _Block, claimable: float) -> float:
    """By how much the relative step between two levels is larger than what may be claimed."""
    noise = 4 * math.sqrt(1 / left.weight + 1 / right.weight)  # isotonic levels are drawn apart by selection
    return right.level / left.level - 1 - max(claimable, noise)


def _pool(left: _Block, right: _Block) -> _Block:
    weight = left.weight + right.weight
    level = (left.level * left.weight + right.level * right.weight) / weight
    return _Block(right.high, level, weight)


def _padding_error(points: Sequence[Point], quantum: int) -> float:
    """Sum of squared relative errors of the best line through the padded channel counts."""
    padded = np.array([-(-point.channels // quantum) * quantum for point in points], dtype=np.float64)
    ns = np.array([point.ns for point in points], dtype=np.float64)
    design = np.stack([np.ones_like(padded), padded], axis=1) / ns[:, None]
    solution, *_ = np.linalg.lstsq(design, np.ones_like(ns), rcond=None)
    return float(np.sum((design @ solution - 1) ** 2))
