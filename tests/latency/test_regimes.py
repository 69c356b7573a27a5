"""Parametric stairs are recovered with their borders, and are not believed where they do not describe a point."""

from __future__ import annotations

import numpy as np
import pytest

from tailor.latency.regimes import Regime, explain, regime_costs

COUNTS = (1, 16, 33, 48, 68, 80, 97, 128, 145, 176, 196, 208, 225, 256)


def curve(counts: tuple[int, ...], quantum: int, noise: float = 0.0, seed: int = 0) -> list[int]:
    draw = np.random.default_rng(seed)
    return [round((5e4 + 3e3 * -(-c // quantum) * quantum) * (1 + noise * draw.normal())) for c in counts]


def explained(ns: list[int], noise: float = 0.002) -> tuple[Regime, ...] | None:
    return explain(COUNTS, ns, [noise] * len(COUNTS), claimable=0.01)


@pytest.mark.parametrize("quantum", [8, 16, 32, 48, 64])
def test_the_block_and_its_price_are_recovered(quantum: int) -> None:
    found = explained(curve(COUNTS, quantum, 0.002))
    assert found is not None
    assert [(each.low, each.high, each.quantum) for each in found] == [(1, 256, quantum)]
    asked = range(1, 257)
    assert np.max(np.abs(found[0].ns(asked) / curve(tuple(asked), quantum) - 1)) < 0.02


def test_two_kernels_are_two_regimes_that_meet() -> None:
    ns = [one if c <= 128 else 2 * one for c, one in zip(COUNTS, curve(COUNTS, 16, 0.002), strict=True)]
    found = explained(ns)
    assert found is not None
    assert [(each.low, each.high) for each in found] == [(1, 128), (129, 256)]


def test_noise_has_no_block() -> None:
    draw = np.random.default_rng(0)
    for _ in range(100):
        found = explained([round(1e6 * (1 + 0.01 * draw.normal())) for _ in COUNTS], noise=0.01)
        assert found is not None
        assert [each.quantum for each in found] == [1]
        assert found[0].slope == 0


def test_a_point_that_no_stair_describes_makes_the_answer_none() -> None:
    ns = curve(COUNTS, 16)
    ns[6] = round(1.2 * ns[6])
    assert explained(ns) is None


def test_the_narrowest_points_may_be_left_to_themselves_but_no_others() -> None:
    ns = curve(COUNTS, 16)
    ns[0], ns[1] = round(0.5 * ns[0]), round(0.7 * ns[1])
    assert explained(ns) is None
    loose = explain(COUNTS, ns, [0.002] * len(COUNTS), claimable=0.01, narrow_end=False)
    assert loose is not None
    assert [(each.low, each.high, each.quantum) for each in loose] == [(33, 256, 16)]
    ns[7] = round(1.2 * ns[7])  # 128 channels: no narrow end
    assert explain(COUNTS, ns, [0.002] * len(COUNTS), claimable=0.01, narrow_end=False) is None
    whole = explain(COUNTS, curve(COUNTS, 16), [0.002] * len(COUNTS), claimable=0.01, narrow_end=False)
    assert whole is not None
    assert whole[0].low == 1


def test_rivals_come_with_their_cost_the_likeliest_first() -> None:
    costs = regime_costs(COUNTS, curve(COUNTS, 16, 0.002), [0.002] * len(COUNTS), claimable=0.5)
    assert len(costs) > 3
    assert costs[0][1].quantum == 16
    assert [cost for cost, _ in costs] == sorted(cost for cost, _ in costs)
    finer = regime_costs(COUNTS, curve(COUNTS, 16, 0.002), [0.002] * len(COUNTS), claimable=0.01)
    assert {rival.quantum for _, rival in finer} < {rival.quantum for _, rival in costs}


def test_too_few_points_and_whole_sweeps_are_left_as_they_are() -> None:
    assert explain((1, 2, 3), (10, 20, 30), (0.01,) * 3, claimable=0.01) is None
    sweep = tuple(range(1, 129))
    assert explain(sweep, curve(sweep, 16), (0.01,) * 128, claimable=0.01) is None
