"""Explains a latency curve by parametric stairs: the block that pads it, and where one kernel gives way to another.

Within one kernel t(c) = base + padded * ceil(c / q) * q + slope * c + remainder * [c is no multiple of q]: work is
done in whole blocks of q channels, some of it per channel, and an unfinished block may cost a little extra. Three
things come on top where they are seen:

- ONNX Runtime runs another kernel altogether where c is no multiple of 4: odd_base + odd_slope * c there.
- Wide blocks are worked off in vectors (ONNX Runtime's filter sets), of 16 channels with AVX-512: inner * ceil(c / 16)
  * 16, of 8 with AVX2: inner_8 * ceil(c / 8) * 8.
- What an unfinished block holds is worked off in pieces of 8, 4, 2 and 1 (oneDNN, channels last): tail * the number of
  ones in c modulo q, written in binary; then remainder may be negative, since the block itself is not begun.

A stretch of channel counts that one such stair describes is a regime. Few points suffice to know all its edges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ODD", "QUANTA", "Regime", "explain", "regime_costs"]

FloatArray = npt.NDArray[np.float64]

QUANTA = (64, 48, 32, 16, 8, 4, 2)  # channel blocks of today's kernels, widest first
ODD = 4  # channel counts that are no multiple of it may run in another kernel
_VECTORS = (16, 8)  # channels of vectors of 512 and of 256 bits
# Which of: base, padded, slope, remainder, odd_base, odd_slope, inner, tail, inner_8.
_TERMS = (
    (0,), (0, 2), (0, 1), (0, 1, 2), (0, 1, 3), (0, 1, 2, 3), (0, 2, 4, 5), (0, 1, 4, 5), (0, 1, 2, 4, 5),
    (0, 1, 6), (0, 1, 2, 6), (0, 1, 3, 7), (0, 1, 2, 3, 7), (0, 1, 8), (0, 1, 2, 8),
)  # fmt: skip
_PADDED, _SLOPE, _REMAINDER, _ODD_BASE, _ODD_SLOPE, _INNER, _TAIL, _INNER_8 = range(1, 9)
_POSITIVE = (_PADDED, _SLOPE, _INNER, _TAIL, _INNER_8)  # and the remainder, but beside a tail
# Chi square that each must save: noise alone must not make a stair.
_TERM_COSTS = (0.0, 20.0, 16.0, 8.0, 12.0, 8.0, 16.0, 12.0, 16.0)
_SPARE = 2  # points that a stair needs beyond its terms
_FEWEST_ODD = (10, 3)  # points, and points of either kernel, from which on two kernels may alternate
_REGIME_COST = 25.0  # chi square that a further regime must save: noise alone hardly ever buys one
_FEWEST = 5  # points of a regime: one more than a stair has terms
_MOST_REGIMES = 4
_MOST_POINTS = 80  # a curve known at more points needs nobody to speak for what lies between
_HOLDS = 4.0  # standard errors within which a stair must describe each of its points
_NARROW_END = 0.25  # share of the widest count below which points may be left to themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """One stair, in ns, from `low` to `high` channels; `quantum` 1 is a straight line, without stairs."""

    low: int
    high: int
    quantum: int
    base: float
    padded: float
    slope: float
    remainder: float
    odd_base: float = 0.0
    odd_slope: float = 0.0
    inner: float = 0.0
    tail: float = 0.0
    inner_8: float = 0.0

    @property
    def alternates(self) -> bool:
        """Whether counts that are no multiple of 4 run in a kernel of their own."""
        return self.odd_base != 0 or self.odd_slope != 0

    def ns(self, channels: Sequence[int] | npt.NDArray[np.int64]) -> FloatArray:
        """Latency at these channel counts, also outside of the regime."""
        coefficients = np.array([
            self.base, self.padded, self.slope, self.remainder, self.odd_base, self.odd_slope, self.inner, self.tail,
            self.inner_8,
        ])  # fmt: skip
        return np.asarray(_features(np.asarray(channels, dtype=np.int64), self.quantum) @ coefficients)


@dataclass(frozen=True, slots=True, eq=False)
class _Fits:
    """Least squares over every stretch of points i..j for one quantum: cost (chi square and terms), coefficients."""

    quantum: int
    cost: FloatArray
    coefficients: FloatArray


def explain(
    channels: Sequence[int],
    ns: Sequence[int],
    errors: Sequence[float],
    *,
    claimable: float,
    narrow_end: bool = True,
) -> tuple[Regime, ...] | None:
    """The fewest stairs that describe every point, ascending and without gaps; None where none do, or points abound.

    `channels` ascend; `errors` are relative standard errors. A point counts as described within four standard errors,
    half of what may be claimed as a step, or a third of the step that the stair has there: then no claimable edge can
    hide in it. Kernels treat few channels in ways of their own: without `narrow_end`, a single stair is sought that may
    begin above the narrowest points, as few as need be and all in the lowest quarter.
    """
    counts, times = np.asarray(channels, dtype=np.int64), np.asarray(ns, dtype=np.float64)
    sigma = np.maximum(np.asarray(errors, dtype=np.float64), 1e-4)
    if not _FEWEST < len(counts) <= _MOST_POINTS:
        return None
    fits = _all_fits(counts, times, sigma)
    most_regimes, most_left_out = _MOST_REGIMES, 0
    if not narrow_end:
        most_regimes, most_left_out = 1, int(np.searchsorted(counts, _NARROW_END * counts[-1], side="right"))
    for number, start in itertools.product(range(1, most_regimes + 1), range(most_left_out + 1)):
        borders = _borders(fits, start, len(counts), number)
        if borders is None:
            continue
        regimes = _regimes(fits, counts, borders)
        if all(_describes(each, counts, times, sigma, claimable) for each in regimes):
            return regimes
    return None


def regime_costs(
    channels: Sequence[int], ns: Sequence[int], errors: Sequence[float], *, claimable: float
) -> tuple[tuple[float, Regime], ...]:
    """The best stair of each quantum that describes all the points, the likeliest first, with its cost.

    The cost is chi square and what the terms must save.
    """
    counts, times = np.asarray(channels, dtype=np.int64), np.asarray(ns, dtype=np.float64)
    sigma = np.maximum(np.asarray(errors, dtype=np.float64), 1e-4)
    last = len(counts) - 1
    found = []
    for fit in _all_fits(counts, times, sigma):
        regime = _regime(fit, 0, last, int(counts[0]), int(counts[-1]))
        if np.isfinite(fit.cost[0, last]) and _describes(regime, counts, times, sigma, claimable):
            found.append((float(fit.cost[0, last]), regime))
    return tuple(sorted(found, key=lambda each: each[0]))


def _all_fits(counts: npt.NDArray[np.int64], times: FloatArray, sigma: FloatArray) -> list[_Fits]:
    span = int(counts[-1])
    quanta = [1, *(quantum for quantum in QUANTA if 2 * quantum <= span)]
    return [_fits(counts, times, sigma, quantum) for quantum in quanta]


def _fits(counts: npt.NDArray[np.int64], times: FloatArray, sigma: FloatArray, quantum: int) -> _Fits:
    """Every stretch at once: the normal equations are differences of cumulative sums."""
    per_channel = 1.0 / counts[-1]
    scale = np.array([1.0, per_channel, per_channel, 1.0, 1.0, per_channel, per_channel, 1.0, per_channel])
    scale = scale * float(np.median(times))
    design = _features(counts, quantum) * scale / (sigma * times)[:, None]
    target = 1.0 / sigma
    products = _cumulated(design[:, :, None] * design[:, None, :])
    right = _cumulated(design * target[:, None])
    squares = _cumulated(target**2)
    size = len(counts)
    first, last = np.triu_indices(size)
    gram, rhs, total = (each[last + 1] - each[first] for each in (products, right, squares))
    best, chosen = np.full(len(first), np.inf), np.zeros((len(first), len(_TERM_COSTS)))
    for terms in _TERMS:
        if not _possible(quantum, terms):
            continue
        cost, coefficients = _solve(gram, rhs, total, terms)
        cost[~_enough(counts, first, last, terms)] = np.inf
        better = cost < best
        best[better], chosen[better] = cost[better], coefficients[better]
    costs, solutions = np.full((size, size), np.inf), np.zeros((size, size, len(_TERM_COSTS)))
    costs[first, last], solutions[first, last] = best, chosen * scale
    return _Fits(quantum, costs, solutions)


def _possible(quantum: int, terms: tuple[int, ...]) -> bool:
    """Whether these terms mean anything for this block."""
    if quantum == 1:
        return not {_PADDED, _REMAINDER} & set(terms)
    for inner, vector in zip((_INNER, _INNER_8), _VECTORS, strict=True):
        if inner in terms and quantum <= vector:
            return False
    return _TAIL not in terms or ODD <= quantum <= _VECTORS[0]


def _enough(
    counts: npt.NDArray[np.int64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], terms: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Which stretches have points enough to tell these terms."""
    points = last + 1 - first
    if not {_ODD_BASE, _ODD_SLOPE} & set(terms):
        return np.asarray(points >= len(terms) + _SPARE)
    odd = _cumulated((counts % ODD != 0).astype(np.float64))
    odd_points = odd[last + 1] - odd[first]
    most, either = _FEWEST_ODD
    return np.asarray((points >= most) & (odd_points >= either) & (points - odd_points >= either))


def _solve(
    gram: FloatArray, rhs: FloatArray, total: FloatArray, terms: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """Cost and coefficients with these terms alone; infinite where one that must be positive is negative."""
    index = np.array(terms)
    small = gram[:, index[:, None], index]
    ridge = 1e-9 * total + 1e-12 * np.trace(small, axis1=1, axis2=2)  # short stretches leave terms undetermined
    small = small + np.eye(len(terms)) * ridge[:, None, None]
    solved = np.linalg.solve(small, rhs[:, index, None])[..., 0]
    squares = np.maximum(0.0, total - np.einsum("ni,ni->n", solved, rhs[:, index]))
    positive = _POSITIVE if _TAIL in terms else (*_POSITIVE, _REMAINDER)
    allowed = np.all(solved[:, np.isin(index, positive)] >= 0, axis=1)
    coefficients = np.zeros((len(total), len(_TERM_COSTS)))
    coefficients[:, index] = solved
    return np.where(allowed, squares + sum(_TERM_COSTS[term] for term in terms), np.inf), coefficients


def _borders(fits: Sequence[_Fits], start: int, size: int, number: int) -> tuple[int, ...] | None:
    """Where so many regimes of least cost begin, by dynamic programming; None where they would lack points.

    The first begins at point `start`.
    """
    stretch = np.min(np.stack([fit.cost for fit in fits]), axis=0) + _REGIME_COST
    cheapest = np.full((number + 1, size + 1), math.inf)
    came_from = np.zeros((number + 1, size + 1), dtype=np.int64)
    cheapest[0, start] = 0.0
    for used, end in itertools.product(range(1, number + 1), range(start + _FEWEST, size + 1)):
        starts = np.arange(start, end - _FEWEST + 1)
        costs = cheapest[used - 1, starts] + stretch[starts, end - 1]
        came_from[used, end] = starts[int(np.argmin(costs))]
        cheapest[used, end] = float(np.min(costs))
    if not math.isfinite(cheapest[number, size]):
        return None
    borders, end = [], size
    for used in range(number, 0, -1):
        end = int(came_from[used, end])
        borders.append(end)
    return tuple(reversed(borders))


def _regimes(fits: Sequence[_Fits], counts: npt.NDArray[np.int64], borders: Sequence[int]) -> tuple[Regime, ...]:
    """The cheapest stair of each stretch; a regime begins one channel after the last point of the one before."""
    found = []
    for start, end in itertools.pairwise([*borders, len(counts)]):
        best = min(fits, key=lambda fit: float(fit.cost[start, end - 1]))
        low = int(counts[start]) if start == borders[0] else int(counts[start - 1]) + 1
        found.append(_regime(best, start, end - 1, low, int(counts[end - 1])))
    return tuple(found)


def _regime(fit: _Fits, start: int, end: int, low: int, high: int) -> Regime:
    base, padded, slope, remainder, odd_base, odd_slope, inner, tail, inner_8 = map(
        float, fit.coefficients[start, end]
    )
    quantum = fit.quantum if padded > 0 else 1
    return Regime(
        low=low, high=high, quantum=quantum, base=base, padded=padded, slope=slope,
        remainder=remainder if quantum > 1 else 0.0, odd_base=odd_base, odd_slope=odd_slope, inner=inner, tail=tail,
        inner_8=inner_8,
    )


def _describes(
    regime: Regime, counts: npt.NDArray[np.int64], times: FloatArray, sigma: FloatArray, claimable: float
) -> bool:
    inside = (counts >= regime.low) & (counts <= regime.high)
    said = regime.ns(counts[inside])
    step = (regime.padded * regime.quantum if regime.quantum > 1 else 0.0) / times[inside]
    allowed = np.maximum(np.maximum(claimable / 2, step / 3), _HOLDS * sigma[inside])
    return bool(np.all(np.abs(times[inside] / said - 1) <= allowed) and np.all(said > 0))


def _features(counts: npt.NDArray[np.int64], quantum: int) -> FloatArray:
    padded, inner, inner_8 = (-(-counts // block) * block for block in (quantum, *_VECTORS))
    odd = counts % ODD != 0
    tail = np.bitwise_count(counts % quantum)
    columns = [np.ones(len(counts)), padded, counts, padded != counts, odd, odd * counts, inner, tail, inner_8]
    return np.stack(columns, axis=1).astype(np.float64)


def _cumulated(values: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
