"""Screening and sorting find the fronts that comparing every pair of points finds."""

from __future__ import annotations

import numpy as np
import pytest

from tailor.solver.fronts import Crossing, Fronts, IntArray, crossed, pareto, promising, screened


def points(seed: int, count: int, states: int, span: int) -> tuple[IntArray, IntArray, IntArray]:
    """Random points of ascending states; a small span makes many equal costs and values."""
    draw = np.random.default_rng(seed)
    state = np.sort(draw.integers(0, states, count))
    state = np.unique(state, return_inverse=True)[1] + 5  # without gaps, from anywhere
    return state, draw.integers(-span, span, count), draw.integers(-span, span, count)


def beaten(state: IntArray, cost: IntArray, value: IntArray) -> list[bool]:
    """By definition: another point of the state costs no more, is worth no less, and differs."""
    rows = list(zip(state.tolist(), cost.tolist(), value.tolist(), strict=True))
    return [
        any(s == t and c <= d and v >= w and (c, v) != (d, w) for s, c, v in rows) for t, d, w in rows
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "states", "span"), [(700, 1, 10**9), (700, 5, 10**12), (700, 3, 12), (60, 9, 50)])
def test_no_point_of_a_front_is_screened_out(seed: int, count: int, states: int, span: int) -> None:
    state, cost, value = points(seed, count, states, span)
    kept = screened(state, cost, value)
    on_front = [index for index, lost in enumerate(beaten(state, cost, value)) if not lost]
    assert set(on_front) <= set(kept.tolist())


def test_most_points_are_screened_out() -> None:
    state, cost, value = points(0, 20_000, 1, 10**9)
    assert len(screened(state, cost, value)) < 2_000


@pytest.mark.parametrize("seed", range(10))
def test_a_front_is_what_no_other_point_beats(seed: int) -> None:
    state, cost, value = points(seed, 300, 4, 40)
    state = state - state[0]
    fronts, chosen = pareto(state, cost, value, int(state[-1]) + 1)
    expected = sorted({
        row for row, lost in zip(
            zip(state.tolist(), cost.tolist(), value.tolist(), strict=True), beaten(state, cost, value), strict=True
        ) if not lost
    })
    assert sorted(zip(state[chosen].tolist(), fronts.cost.tolist(), fronts.value.tolist(), strict=True)) == expected


@pytest.mark.parametrize(("short", "long"), [(40, 3_000), (500, 40), (30, 30), (900, 900)])
@pytest.mark.parametrize("states", [1, 3])
def test_fronts_crossed_in_blocks_have_the_front_of_all_their_pairs(short: int, long: int, states: int) -> None:
    def fronts(seed: int, count: int) -> Fronts:
        draw = np.random.default_rng(seed)
        cost, value = (np.cumsum(draw.integers(1, 2_000, (states, count)), axis=1).ravel() for _ in range(2))
        return Fronts(starts=np.arange(states + 1) * count, cost=cost, value=value)

    left, right = fronts(0, short), fronts(1, long)
    places = np.repeat(np.arange(states), 2), np.tile(np.arange(states), 2)  # two entries for every state
    state = np.repeat(np.arange(states), 2)

    def front(pairs: Crossing) -> tuple[list[int], list[int]]:
        found, _ = pareto(
            state[pairs.entry], left.cost[pairs.left] + right.cost[pairs.right],
            left.value[pairs.left] + right.value[pairs.right], states,
        )
        return found.cost.tolist(), found.value.tolist()

    chosen = promising(left, places[0], right, places[1], state)
    everything = crossed(left, places[0], right, places[1])
    assert front(chosen) == front(everything)
    if min(short, long) > 500:
        assert len(chosen.entry) < len(everything.entry) / 20
