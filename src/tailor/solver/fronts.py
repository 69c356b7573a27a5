"""Many Pareto fronts of (cost, value) in flat arrays: one per state, crossed and filtered without a Python loop.

Costs and values are integers: sums are exact in any order, so that a front can be compared with a brute force.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Crossing", "Fronts", "IntArray", "crossed", "pareto", "promising", "screened", "single_points"]

IntArray = npt.NDArray[np.int64]

_WORD = 63  # bits of a non-negative integer
_FEWEST = 64  # points per state from which screening pays
_LONG, _BLOCK = 64, 8  # points of a front from which on it is looked at in blocks, and of a block
_SPARE_BITS = 1  # buckets are half as many as points, to the next power of two


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fronts:
    """One front per state, back to back: those of state s are the points starts[s] to starts[s + 1].

    `starts` has shape [states + 1]; `cost` and `value` have shape [points] and both ascend strictly within a state.
    """

    starts: IntArray
    cost: IntArray
    value: IntArray

    @property
    def sizes(self) -> IntArray:
        """Points per state, shape [states]."""
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossing:
    """Every pair of a point of one front and a point of another, for many entries: arrays of shape [pairs].

    `entry` says for which entry, `left` and `right` which points.
    """

    entry: IntArray
    left: IntArray
    right: IntArray


def single_points(cost: IntArray, value: IntArray) -> Fronts:
    """One point per state."""
    return Fronts(starts=np.arange(len(cost) + 1), cost=cost, value=value)


def crossed(left: Fronts, left_states: IntArray, right: Fronts, right_states: IntArray) -> Crossing:
    """All pairs of points of the two fronts of each entry; `left_states` and `right_states` have shape [entries]."""
    many = left.sizes[left_states]
    entry, row = np.repeat(np.arange(len(many)), many), _counted(left.starts[left_states], many)
    wide = right.sizes[right_states][entry]  # every point of the left front meets so many of the right one
    return Crossing(
        entry=np.repeat(entry, wide),
        left=np.repeat(row, wide),
        right=_counted(right.starts[right_states][entry], wide),
    )


def _counted(starts: IntArray, counts: IntArray) -> IntArray:
    """starts[0], starts[0] + 1 ... for counts[0] places, then on from starts[1]: ranges back to back."""
    ends = np.cumsum(counts)
    places: IntArray = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return places


def pareto(state: IntArray, cost: IntArray, value: IntArray, states: int) -> tuple[Fronts, IntArray]:
    """The front of every state, and which of the given points (shape [points]) are on it.

    Of points of equal cost and value, one stays. `state`, `cost` and `value` are in any order.
    """
    if not len(cost):
        return Fronts(starts=np.zeros(states + 1, dtype=np.int64), cost=cost, value=value), np.zeros(0, dtype=np.int64)
    order, place, cost_bits = _sorted(state, cost)
    value = value[order]
    # A running maximum that starts anew with every state: later states' values are lifted above all earlier ones.
    lifted = value - value.min()
    lifted += (place >> cost_bits) * (int(lifted.max()) + 1)
    better = np.ones(len(lifted), dtype=bool)
    better[1:] = lifted[1:] > np.maximum.accumulate(lifted)[:-1]
    kept = np.flatnonzero(better)
    last = np.ones(len(kept), dtype=bool)  # of equal costs the last that is better has the highest value
    last[:-1] = place[kept[1:]] != place[kept[:-1]]
    kept = kept[last]
    starts = np.searchsorted(place[kept] >> cost_bits, np.arange(states + 1)).astype(np.int64)
    chosen = order[kept]
    return Fronts(starts=starts, cost=cost[chosen], value=value[kept]), chosen


def promising(left: Fronts, left_states: IntArray, right: Fronts, right_states: IntArray, state: IntArray) -> Crossing:
    """The pairs of `crossed` that may be on the front of their state, of all entries' pairs taken together.

    `state` has shape [entries] and ascends without gaps. A long right front is crossed in blocks of neighbouring points
    first: a block whose best value at its lowest cost is beaten is never looked into.
    """
    blocks = _blocks(right) if len(right.cost) >= _LONG * (len(right.starts) - 1) else None
    if blocks is None:
        pairs = crossed(left, left_states, right, right_states)
    else:
        rough = crossed(left, left_states, blocks.fronts, right_states)
        cost = left.cost[rough.left] + blocks.fronts.cost[rough.right]
        value = left.value[rough.left]
        hope = value + right.value[blocks.last[rough.right]]
        kept = screened(state[rough.entry], cost, value + blocks.fronts.value[rough.right], hope)
        first, many = blocks.first[rough.right[kept]], blocks.sizes[rough.right[kept]]
        entry, row = np.repeat(rough.entry[kept], many), np.repeat(rough.left[kept], many)
        pairs = Crossing(entry=entry, left=row, right=_counted(first, many))
    kept = screened(
        state[pairs.entry], left.cost[pairs.left] + right.cost[pairs.right],
        left.value[pairs.left] + right.value[pairs.right],
    )
    return Crossing(entry=pairs.entry[kept], left=pairs.left[kept], right=pairs.right[kept])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Blocks:
    """Neighbouring points of fronts: the fronts of each block's first point, and the places of its first and last."""

    fronts: Fronts
    first: IntArray
    last: IntArray

    @property
    def sizes(self) -> IntArray:
        return self.last - self.first + 1


def _blocks(fronts: Fronts) -> _Blocks:
    many = -(-fronts.sizes // _BLOCK)
    first = _counted(np.zeros(len(many), dtype=np.int64), many) * _BLOCK + np.repeat(fronts.starts[:-1], many)
    last = np.minimum(first + _BLOCK, np.repeat(fronts.starts[1:], many)) - 1
    starts = np.concatenate([[0], np.cumsum(many)])
    return _Blocks(
        fronts=Fronts(starts=starts, cost=fronts.cost[first], value=fronts.value[first]), first=first, last=last
    )


def screened(state: IntArray, cost: IntArray, value: IntArray, hope: IntArray | None = None) -> IntArray:
    """Indices of the points that may be on a front: no point of the same state beats them from a cheaper bucket.

    Costs fall into buckets, the best value of all cheaper buckets is known after one pass, and most points are beaten
    by it: that is several times faster than sorting them all. `state` ascends and has no gaps. With `hope`, what is
    kept is what might be beaten by none if it were worth that much.
    """
    starts = np.flatnonzero(np.diff(state, prepend=state[:1] - 1))
    if len(state) < _FEWEST * len(starts):
        return np.arange(len(state))
    above = cost - np.repeat(np.minimum.reduceat(cost, starts), np.diff(starts, append=len(state)))
    bits = max(0, (len(state) // len(starts)).bit_length() - _SPARE_BITS)
    bucket = above >> max(0, int(above.max()).bit_length() - bits)
    row = (state - state[0]) * ((1 << bits) + 1)  # one column more: bucket b is told the best of those below b
    best = np.full(len(starts) * ((1 << bits) + 1), np.iinfo(np.int64).min)
    np.maximum.at(best, row + bucket + 1, value)
    best = np.maximum.accumulate(best.reshape(len(starts), -1), axis=1).ravel()
    return np.flatnonzero((value if hope is None else hope) > best[row + bucket])


def _sorted(state: IntArray, cost: IntArray) -> tuple[IntArray, IntArray, int]:
    """(order, places in that order, bits) by state, then cost: a place is the state in the bits above its cost's.

    Where place and index fit into one word, sorting words is several times faster than sorting indices.
    """
    lowest = int(cost.min())
    cost_bits = (int(cost.max()) - lowest).bit_length()
    place = (state << cost_bits) | (cost - lowest)
    index_bits = (len(place) - 1).bit_length()
    if (int(state.max()) + 1).bit_length() + cost_bits + index_bits > _WORD:
        order = np.argsort(place)
        return order, place[order], cost_bits
    words = np.sort((place << index_bits) | np.arange(len(place)), kind="stable")  # made of runs, which it merges
    return words & ((1 << index_bits) - 1), words >> index_bits, cost_bits
