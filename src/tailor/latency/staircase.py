"""Finds the treads of a latency staircase from few noisy points: where narrowing a layer begins to pay.

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

from tailor.errors import MeasurementError
from tailor.timing import claimable_step

__all__ = [
    "Point",
    "Staircase",
    "Tread",
    "coarse_grid",
    "fit_staircase",
    "monotone_levels",
    "next_probes",
    "quantum_of",
]

_COARSE_POINTS = 12  # the first grid of a stair has at most so many points, all multiples of one power of two
_EDGE_SPAN = 16  # from this gap on the guess is tried that the edge sits on the left point, a multiple of the block
_QUANTA = (64, 48, 32, 16, 8, 4, 2)  # channel blocks of today's kernels, widest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured channel count: ns per call, and the relative standard error of that number."""

    channels: int
    ns: int
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tread:
    """Channel counts from `low` to `right_edge` that cost the same `ns`, as far as can be told."""

    low: int
    right_edge: int
    ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """A monotone step fit: ascending treads, and the points and the resolution they rest on."""

    points: tuple[Point, ...]
    treads: tuple[Tread, ...]
    resolution: float

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


@dataclass(slots=True)
class _Block:
    """Neighbouring points pooled into one level; `weight` is the inverse relative variance of the level."""

    high: int
    level: float
    weight: float


def fit_staircase(points: Sequence[Point], resolution: float) -> Staircase:
    """The monotone step function through the points whose every step is large enough to be claimed.

    Points that a wider layer beats beyond the noise are dropped (padding up), the rest is pooled by isotonic
    regression, then neighbouring levels are merged, the closest first, until every step is at least
    max(3 x resolution, 1 %) and four standard errors of the levels it separates. Noise alone yields one tread.

    Raises:
        MeasurementError: there are no points, or two of the same channel count.
    """
    ordered = _ordered(points)
    blocks = _merged(_isotonic(_not_beaten(ordered, resolution)), claimable_step(resolution))
    lows = [ordered[0].channels, *(block.high + 1 for block in blocks)]
    treads = tuple(
        Tread(low=low, right_edge=block.high, ns=round(block.level)) for low, block in zip(lows, blocks, strict=False)
    )
    return Staircase(points=ordered, treads=treads, resolution=resolution)


def monotone_levels(points: Sequence[Point], resolution: float) -> tuple[tuple[int, float], ...]:
    """(channels, ns) of the padded-up, isotonic curve at each point: what lies between may be interpolated.

    Raises:
        MeasurementError: there are no points, or two of the same channel count.
    """
    ordered = _ordered(points)
    blocks = _isotonic(_not_beaten(ordered, resolution))
    highs = [block.high for block in blocks]
    return tuple((p.channels, blocks[bisect.bisect_left(highs, p.channels)].level) for p in ordered)


def coarse_grid(width: int, smallest: int = 1) -> tuple[int, ...]:
    """The channel counts to measure first: multiples of a power of two, and both ends."""
    step = 1
    while width // step > _COARSE_POINTS:
        step *= 2
    inner = range(step, width, step)
    return tuple(sorted({smallest, width, *(count for count in inner if count > smallest)}))


def next_probes(
    points: Sequence[Point], width: int, resolution: float, *, smallest: int = 1, at_once: int = 4, limit: int = 24
) -> tuple[int, ...]:
    """Channel counts to measure next; empty when every edge is known or `limit` points are spent.

    Starts with a coarse grid, then halves the gaps whose ends differ by more than may be called noise, the largest
    drop first. In a short gap the guess comes first that the edge is the left point itself: kernels' blocks are
    powers of two, so one probe beside it usually settles the gap.
    """
    if not points:
        return coarse_grid(width, smallest)
    levels = monotone_levels(points, resolution)
    threshold = claimable_step(resolution) * levels[-1][1]
    gaps = [
        (right[1] - left[1], left[0], right[0])
        for left, right in itertools.pairwise(levels)
        if right[0] - left[0] > 1 and right[1] - left[1] > threshold
    ]
    room = min(at_once, limit - len(points))
    widest_drops = sorted(gaps, reverse=True)[: max(0, room)]
    return tuple(sorted(_probe_between(low, high) for _, low, high in widest_drops))


def quantum_of(staircase: Staircase) -> int:
    """The channel block q whose padding a + b * ceil(c / q) * q explains the points best; 1 when none does.

    A block is only believed when it halves the squared error of the unpadded line.
    """
    points = staircase.points
    if len(staircase.treads) < 2 or len(points) < 5:
        return 1
    plain = _padding_error(points, 1)
    width = points[-1].channels
    errors = {quantum: _padding_error(points, quantum) for quantum in _QUANTA if 2 * quantum <= width}
    best = min(errors, key=lambda quantum: errors[quantum], default=1)
    return best if best != 1 and errors[best] < plain / 2 else 1


def _ordered(points: Sequence[Point]) -> tuple[Point, ...]:
    ordered = tuple(sorted(points, key=lambda point: point.channels))
    if not ordered or len({point.channels for point in ordered}) != len(ordered):
        counts = [point.channels for point in ordered]
        raise MeasurementError(f"a staircase needs points of distinct channel counts, not {counts}", value=counts)
    return ordered


def _not_beaten(points: Sequence[Point], resolution: float) -> list[_Block]:
    """The points that no wider one beats by more than 3 sqrt(2) standard errors, as blocks of their own.

    Plain suffix minima would follow the luckiest noise downwards.
    """
    kept: list[_Block] = []
    cheapest = math.inf
    for point in reversed(points):
        # Two copies of one network differ by the resolution, whatever the spread within the session says.
        error = max(point.noise, resolution / 2, 1e-4)
        if point.ns > cheapest * (1 + 3 * math.sqrt(2) * error):
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


def _merged(blocks: Sequence[_Block], claimable: float) -> list[_Block]:
    """Merge the closest neighbours until every step may be claimed."""
    levels = list(blocks)
    while len(levels) > 1:
        excess = [_step_excess(left, right, claimable) for left, right in itertools.pairwise(levels)]
        closest = min(range(len(excess)), key=lambda index: excess[index])
        if excess[closest] >= 0:
            break
        levels[closest : closest + 2] = [_pool(levels[closest], levels[closest + 1])]
    return levels


def _step_excess(left: _Block, right: _Block, claimable: float) -> float:
    """By how much the relative step between two levels is larger than what may be claimed."""
    noise = 4 * math.sqrt(1 / left.weight + 1 / right.weight)  # isotonic levels are drawn apart by selection
    return right.level / left.level - 1 - max(claimable, noise)


def _pool(left: _Block, right: _Block) -> _Block:
    weight = left.weight + right.weight
    level = (left.level * left.weight + right.level * right.weight) / weight
    return _Block(right.high, level, weight)


def _probe_between(low: int, high: int) -> int:
    """Where to look for the edge in a gap: beside an aligned left end, else at the roundest number near the middle."""
    if high - low <= _EDGE_SPAN and low % 4 == 0:
        return low + 1
    block = 1
    while high - low > 4 * block:
        block *= 2
    middle = (low + high) / 2
    inside = list(range(block * (low // block + 1), high, block))
    return min(inside, key=lambda count: abs(count - middle)) if inside else (low + high) // 2


def _padding_error(points: Sequence[Point], quantum: int) -> float:
    """Sum of squared relative errors of the best line through the padded channel counts."""
    padded = np.array([-(-point.channels // quantum) * quantum for point in points], dtype=np.float64)
    ns = np.array([point.ns for point in points], dtype=np.float64)
    design = np.stack([np.ones_like(padded), padded], axis=1) / ns[:, None]
    solution, *_ = np.linalg.lstsq(design, np.ones_like(ns), rcond=None)
    return float(np.sum((design @ solution - 1) ** 2))
