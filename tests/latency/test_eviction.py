"""What a network takes and what that evicts agree: the equation holds, by its least root, also counted by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tailor.latency.basis import EVICTION_STEPS, eviction_share
from tailor.latency.eviction import settled_ns

NOTHING = [0.0] * len(EVICTION_STEPS)


def told(ns: float, warm_ns: float, evicted_ns: list[float]) -> float:
    """What a network takes whose data are evicted as long as one that takes `ns`."""
    shares = (eviction_share(step, np.array([ns / 1e6]))[0] for step in range(len(EVICTION_STEPS)))
    return warm_ns + sum(share * cost for share, cost in zip(shares, evicted_ns, strict=True))


def test_the_answer_solves_the_equation_and_nothing_below_it_does() -> None:
    draw, slower = random.Random(0), 0
    for _ in range(300):
        warm = 1e6 * 2 ** draw.uniform(-5, 8)
        costs = [warm * draw.choice((0.0, draw.uniform(0, 0.4))) for _ in EVICTION_STEPS]
        found = settled_ns(warm, costs)
        assert told(found, warm, costs) == pytest.approx(found, rel=1e-9)
        assert found >= warm
        for below in np.linspace(warm, found * (1 - 1e-6), 50) if found > warm else ():
            assert told(float(below), warm, costs) > below
        slower += found > warm
    assert slower > 200


def test_counted_by_hand() -> None:
    low, high = (1e6 * end for end in EVICTION_STEPS[3])  # 1 to 2 ms
    assert (low, high) == (1e6, 2e6)
    costs = [*NOTHING[:3], 400_000.0, *NOTHING[4:]]
    assert settled_ns(0.9e6, costs) == 0.9e6  # over before anything is lost
    assert settled_ns(1.2e6, costs) == pytest.approx(4 / 3 * 1e6)  # 1.2 + 0.4 (t - 1)
    assert settled_ns(1.8e6, costs) == 2.2e6  # all lost
    assert settled_ns(500e6, costs) == 500.4e6
    assert settled_ns(3e6, NOTHING) == 3e6


def test_more_work_never_takes_less() -> None:
    draw = random.Random(1)
    costs = [draw.uniform(0, 2e6) for _ in EVICTION_STEPS]  # steep: some steps add more than they last
    found = [settled_ns(warm, costs) for warm in np.linspace(1e4, 2e8, 2000).tolist()]
    assert found == sorted(found)
