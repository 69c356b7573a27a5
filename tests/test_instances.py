"""Instances of one network differ: the interval of a ratio must know, and cover the planted truth."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailor.errors import MeasurementError
from tailor.instances import Session, across_states, compare_instances, instances_latency
from tailor.records import Interval
from tailor.timing import ratio_interval

TRUTH = 0.8
ROUNDS = 14


def instances(
    rng: random.Random, ns: float, count: int, drift: Sequence[float], *, spread: float, noise: float
) -> list[list[int]]:
    """Samples of so many instances, each off by an effect of its own; interruptions only ever make a sample longer."""
    effects = [rng.gauss(0, spread) for _ in range(count)]
    return [[round(ns * math.exp(effect + d + abs(rng.gauss(0, noise)))) for d in drift] for effect in effects]


def session(rng: random.Random, *, spread: float, noise: float = 0.005, count: int = 3) -> Session:
    drift = [0.03 * rng.random() + 0.05 * number / ROUNDS for number in range(ROUNDS)]
    first, second = (
        instances(rng, ns, count, drift, spread=spread, noise=noise) for ns in (TRUTH * 1e6, 1e6)
    )
    return first, second


def covered(sessions: int, *, trials: int = 300, spread: float = 0.02, count: int = 3) -> float:
    rng = random.Random(1)
    hits = 0
    for _ in range(trials):
        found = compare_instances([session(rng, spread=spread, count=count) for _ in range(sessions)]).ratio
        hits += found.low <= TRUTH <= found.high
    return hits / trials


def test_the_interval_covers_the_planted_ratio_as_often_as_it_says() -> None:
    assert covered(1) >= 0.92
    assert covered(2, trials=150) >= 0.92
    assert covered(1, count=2) >= 0.92
    assert covered(1, spread=0.0) >= 0.92


def test_rounds_alone_would_be_wrong_most_of_the_time() -> None:
    """The statistic that this replaces: one instance of each, paired round by round."""
    rng = random.Random(1)
    hits = 0
    for _ in range(200):
        first, second = session(rng, spread=0.02)
        found = ratio_interval(first[0], second[0])
        hits += found.low <= TRUTH <= found.high
    assert hits / 200 < 0.3


def test_the_spread_of_instances_is_recovered_and_none_is_invented() -> None:
    rng = random.Random(2)
    spreads = [compare_instances([session(rng, spread=0.02)]).spread for _ in range(100)]
    assert math.sqrt(sum(s * s for s in spreads) / 100) == pytest.approx(0.02, rel=0.15)
    quiet = [compare_instances([session(rng, spread=0.0, noise=0.001)]) for _ in range(20)]
    assert max(found.spread for found in quiet) < 0.001
    assert max(found.resolution for found in quiet) < 0.003


def test_more_instances_and_more_sessions_narrow_the_interval() -> None:
    rng = random.Random(3)

    def width(sessions: int, count: int) -> float:
        total = 0.0
        for _ in range(60):
            found = compare_instances([session(rng, spread=0.02, count=count) for _ in range(sessions)]).ratio
            total += found.high - found.low
        return total

    assert width(1, 6) < 0.7 * width(1, 3)
    assert width(2, 3) < 0.8 * width(1, 3)


def test_peers_on_the_same_engine_narrow_it_too() -> None:
    rng = random.Random(4)
    alone = together = 0.0
    for _ in range(80):
        first, second = session(rng, spread=0.02, count=2)
        peers = [instances(rng, 5e5, 2, [0.0] * ROUNDS, spread=0.02, noise=0.005) for _ in range(5)]
        bare = compare_instances([(first, second)]).ratio
        known = compare_instances([(first, second)], peers=peers).ratio
        alone, together = alone + bare.high - bare.low, together + known.high - known.low
    assert together < 0.75 * alone


def test_drift_within_the_session_is_no_instance_effect() -> None:
    drift = [0.02 * number for number in range(20)]
    rows = [[round(ns * math.exp(d)) for d in drift] for ns in (8e5, 8e5, 8e5, 1e6, 1e6, 1e6)]
    found = compare_instances([(rows[:3], rows[3:])])
    assert found.ratio.value == pytest.approx(0.8, rel=1e-5)
    assert found.ratio.high - found.ratio.low < 1e-4
    assert found.first.value == pytest.approx(8e5 * math.exp(0.04), rel=1e-3)  # the quickest five of 20
    typical = compare_instances([(rows[:3], rows[3:])], statistic="median")
    assert typical.ratio.value == pytest.approx(0.8, rel=1e-5)
    assert typical.first.low < 8e5 * math.exp(0.19) < typical.first.high


def test_neighbours_that_slow_small_networks_more_do_not_move_the_ratio() -> None:
    rng = random.Random(6)
    slowed = [rng.random() < 0.6 for _ in range(60)]

    def instance(ns: float, slower: float) -> list[int]:
        return [round(ns * math.exp(abs(rng.gauss(0, 0.005))) * (slower if busy else 1)) for busy in slowed]

    both = [instance(8e5, 1.3) for _ in range(3)], [instance(1e6, 1.1) for _ in range(3)]
    found = compare_instances([both])
    assert found.ratio.value == pytest.approx(0.8, rel=0.002)
    assert found.ratio.high - found.ratio.low < 0.01
    assert found.second.value == pytest.approx(1e6, rel=0.003)
    assert compare_instances([both], statistic="median").ratio.value > 0.9


def test_instances_that_happen_to_agree_claim_no_more_than_their_rounds() -> None:
    """Every instance has the same samples, in rounds that scatter by a tenth."""
    rng = random.Random(5)
    row = [round(1e6 * math.exp(rng.gauss(0, 0.1))) for _ in range(12)]
    other = [round(1e6 * math.exp(rng.gauss(0, 0.1))) for _ in range(12)]
    found = compare_instances([([row] * 3, [other] * 3)])
    assert found.spread == pytest.approx(0)
    assert found.ratio.high - found.ratio.low > 0.05
    assert found.first.high - found.first.low > 0.02e6


def test_what_the_host_s_state_adds_to_sessions_widens_the_interval_enough_and_no_more() -> None:
    """Sessions are off by a state of 4 % and by noise of 2 %, which the interval knows already."""
    rng = random.Random(2)
    for sessions in (1, 3):
        half = 1.96 * 0.02 / math.sqrt(sessions)
        hits = {0.0: 0, 0.04: 0}
        for _ in range(1000):
            off = sum(rng.gauss(0, 0.02) + rng.gauss(0, 0.04) for _ in range(sessions)) / sessions
            plain = Interval(value=math.exp(off), low=math.exp(off - half), high=math.exp(off + half))
            for noise in hits:
                found = across_states(plain, noise, sessions)
                assert found.value == pytest.approx(plain.value)
                hits[noise] += found.low <= 1 <= found.high
        assert 0.93 <= hits[0.04] / 1000 <= 0.97
        assert hits[0.0] / 1000 < 0.7


samples = st.integers(1000, 10**9)
pairs = st.integers(2, 4).flatmap(
    lambda rounds: st.tuples(
        *[st.lists(st.lists(samples, min_size=rounds, max_size=rounds), min_size=2, max_size=4)] * 2
    )
)


@given(pairs)
def test_swapped_networks_have_the_inverse_ratio_and_the_interval_holds_its_value(
    groups: tuple[list[list[int]], list[list[int]]],
) -> None:
    forth, back = compare_instances([groups]), compare_instances([(groups[1], groups[0])])
    assert forth.ratio.value * back.ratio.value == pytest.approx(1)
    assert forth.ratio.low * back.ratio.high == pytest.approx(1)
    for each in (forth.ratio, forth.first, forth.second):
        assert each.low <= each.value * (1 + 1e-9)
        assert each.value <= each.high * (1 + 1e-9)
    assert forth.first.value == pytest.approx(back.second.value)
    assert forth.resolution == back.resolution


def test_one_network_s_latency_knows_its_instances() -> None:
    rows = [[990_000] * 12, [1_000_000] * 12, [1_010_000] * 12]
    latency, resolution = instances_latency(rows)
    assert latency.value == pytest.approx(1e6, rel=1e-4)
    assert latency.low < 990_000
    assert latency.high > 1_010_000
    assert resolution == pytest.approx(0.0101, rel=0.02)


def test_the_statistics_differ_where_a_session_was_disturbed() -> None:
    rows = [[1_000_000] * 9 + [3_000_000]] * 2
    assert instances_latency(rows)[0].value == pytest.approx(1e6)
    mixed = [[1_000_000] * 3 + [1_200_000] * 7] * 2
    assert instances_latency(mixed)[0].value == pytest.approx(1e6)
    assert instances_latency(mixed, statistic="median")[0].value == pytest.approx(1.2e6)
    assert instances_latency(rows, statistic="mean")[0].value == pytest.approx(1.2e6)


def test_what_cannot_be_compared_is_refused() -> None:
    rows = [[1, 2, 3]] * 2
    with pytest.raises(MeasurementError, match="no session"):
        compare_instances([])
    with pytest.raises(MeasurementError, match=r"same rounds, not \[2, 3\]"):
        compare_instances([(rows, [[1, 2]] * 2)])
    with pytest.raises(MeasurementError, match="same rounds"):
        compare_instances([([[], []], [[], []])])
    with pytest.raises(MeasurementError, match="1 instance says nothing"):
        compare_instances([(rows, [[1, 2, 3]])])
    with pytest.raises(MeasurementError, match="1 instance"):
        instances_latency([[1, 2, 3]])
