"""Timing against a fake clock: drift cancels in rounds, warm-up is tested, intervals cover, failures are values."""

from __future__ import annotations

import gc
import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailor.errors import MeasurementError, UnknownNameError
from tailor.records import TimingSettings
from tailor.timing import (
    PROTOCOL_BATCH,
    PROTOCOLS,
    SHARES,
    aa_resolution,
    claimable_step,
    drift_of,
    mean_interval,
    median_interval,
    quickest_interval,
    quickest_values,
    ratio_interval,
    sample_cost,
    sample_rounds,
    settings_named,
    summary_interval,
)


@dataclass
class FakeClock:
    """A clock that only the workloads move; everything slows down by `drift` per call."""

    now: float = 0.0
    drift: float = 0.0
    noise: float = 0.0
    calls: int = 0
    log: list[str] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def __call__(self) -> int:
        return round(self.now)

    def workload(self, name: str, ns: float, *, cold: float = 1.0, cold_calls: int = 0) -> Callable[[], None]:
        made = 0

        def call() -> None:
            nonlocal made
            made += 1
            self.calls += 1
            self.log.append(name)
            factor = (1 + self.drift) ** self.calls * (1 + self.noise * self.rng.gauss(0, 1))
            self.now += ns * factor * (cold if made <= cold_calls else 1.0)

        return call


ONCE = TimingSettings(min_rounds=12, max_rounds=12, half_width=0.0, sample_seconds=0.0, prime_seconds=0.0,
                      warmup_seconds=0.0)


def test_interleaving_cancels_a_drift_that_sequential_timing_shows() -> None:
    clock = FakeClock(drift=0.0002)
    calls = {name: clock.workload(name, 1e6) for name in "abc"}
    rounds = sample_rounds(calls, replace(ONCE, min_rounds=50, max_rounds=50), clock=clock)
    medians = [median_interval(rounds.samples[name]).value for name in "abc"]
    interleaved = max(medians) / min(medians) - 1

    clock = FakeClock(drift=0.0002)
    alone = [
        median_interval(
            sample_rounds(
                {name: clock.workload(name, 1e6)}, replace(ONCE, min_rounds=50, max_rounds=50), clock=clock
            ).samples[name]
        ).value
        for name in "abc"
    ]
    assert interleaved < 0.002
    assert max(alone) / min(alone) - 1 > 0.015


def test_every_round_times_every_subject_once_in_an_order_that_changes_with_the_seed() -> None:
    def order(seed: int) -> list[str]:
        clock = FakeClock()
        calls = {name: clock.workload(name, 1e6) for name in "abcd"}
        sample_rounds(calls, replace(ONCE, seed=seed), clock=clock)
        return clock.log

    log = order(0)
    rounds = [log[start : start + 4] for start in range(0, len(log), 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    assert len({tuple(one) for one in rounds}) > 4
    assert order(0) == log != order(1)


def test_a_sample_of_launched_work_divides_by_as_many_calls_as_fill_the_sample_time() -> None:
    clock = FakeClock()
    settings = replace(ONCE, sample_seconds=0.001)
    work = {"a": clock.workload("a", 100_000)}
    rounds = sample_rounds(work, settings, clock=clock, sync=lambda: None)
    assert rounds.samples["a"] == (100_000,) * 12
    assert clock.calls == 1 + 12 * 10
    sample_rounds(work, settings, clock=clock)  # synchronous: the quickest of single calls and averages differ
    assert clock.calls == 1 + 12 * 10 + 1 + 12


def test_short_calls_are_primed_for_a_while_and_long_ones_are_not() -> None:
    clock = FakeClock()
    calls = {name: clock.workload(name, ns) for name, ns in (("short", 1e5), ("middle", 4e6), ("long", 1e8))}
    sample_rounds(calls, replace(ONCE, prime_seconds=0.01), clock=clock)
    assert clock.log.count("long") == 1 + 12
    assert clock.log.count("middle") == 1 + 12 * (1 + 2)
    assert clock.log.count("short") == 1 + 12 * (1 + 12)


@pytest.mark.parametrize("launches", [False, True])
@pytest.mark.parametrize("ns", [1e5, 4e6, 1e8])
def test_a_sample_costs_what_is_said_before(ns: float, launches: bool) -> None:
    settings, clock = replace(ONCE, prime_seconds=0.01, sample_seconds=0.005), FakeClock()
    sample_rounds({"a": clock.workload("a", ns)}, settings, clock=clock, sync=(lambda: None) if launches else None)
    assert clock.now == pytest.approx(ns + 12 * sample_cost(ns, settings, launches=launches), rel=1e-3)


def test_a_network_whose_caches_were_emptied_is_sampled_after_it_has_settled() -> None:
    clock = FakeClock()
    other = clock.workload("other", 5e7)
    since = {"other": 0}

    def settling() -> None:  # 30 % slower at first, then less, as long as the other one has just run
        since["other"] += 1
        clock.now += round(1e6 * (1 + 0.3 / since["other"] ** 2))

    def evicting() -> None:
        since["other"] = 0
        other()

    settings = replace(ONCE, prime_seconds=0.02)
    samples = sample_rounds({"a": settling, "b": evicting}, settings, clock=clock).samples["a"]
    assert max(samples[1:]) < 1.003e6


def test_warm_up_lasts_until_the_transient_is_over() -> None:
    clock = FakeClock(noise=0.002)
    settings = replace(ONCE, warmup_seconds=0.08, half_width=0.01, min_rounds=20, max_rounds=20)
    slow_start = clock.workload("a", 1e6, cold=3.0, cold_calls=20)
    rounds = sample_rounds({"a": slow_start}, settings, clock=clock)
    assert rounds.steady
    assert rounds.warmup_seconds > 0.08  # the time asked for was not enough
    assert rounds.warmup_rounds > 20
    assert max(rounds.samples["a"]) < 1.1e6


def test_a_session_that_never_settles_says_so() -> None:
    clock = FakeClock(drift=0.01)
    rounds = sample_rounds({"a": clock.workload("a", 1e6)}, replace(ONCE, warmup_seconds=0.02), clock=clock)
    assert not rounds.steady


def test_sampling_stops_when_precise_and_not_before_twelve_rounds() -> None:
    clock = FakeClock(noise=0.001)
    settings = TimingSettings(sample_seconds=0.0, warmup_seconds=0.0)
    rounds = sample_rounds({"a": clock.workload("a", 1e6)}, settings, clock=clock)
    assert rounds.stopped == "precise"
    assert len(rounds.samples["a"]) == 12


def test_noise_takes_more_rounds_and_hopeless_noise_stops_at_a_limit() -> None:
    clock = FakeClock(noise=0.03)
    settings = TimingSettings(sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0)
    some = sample_rounds({"a": clock.workload("a", 1e6)}, settings, clock=clock)
    assert some.stopped == "precise"
    assert 12 < len(some.samples["a"]) < 200
    clock = FakeClock(noise=0.3)
    many = sample_rounds({"a": clock.workload("a", 1e6)}, settings, clock=clock)
    assert (many.stopped, len(many.samples["a"])) == ("rounds", 200)
    clock = FakeClock(noise=0.3)
    late = sample_rounds({"a": clock.workload("a", 1e6)}, replace(settings, max_seconds=0.03), clock=clock)
    assert late.stopped == "time"
    assert 29 <= len(late.samples["a"]) <= 35


def test_ratios_are_precise_though_every_round_takes_longer_than_the_one_before() -> None:
    settings = TimingSettings(sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0)

    def session(*, paired: bool, drift: float = 0.0, noise: float = 0.0) -> tuple[str, int]:
        clock = FakeClock(drift=drift, noise=noise)
        calls = {name: clock.workload(name, ns) for name, ns in (("a", 1e6), ("b", 3e6))}
        rounds = sample_rounds(calls, replace(settings, paired=paired), clock=clock)
        return rounds.stopped, len(rounds.samples["a"])

    assert session(paired=False, drift=0.004) == ("rounds", 200)
    assert session(paired=True, drift=0.004) == ("precise", 12)
    stopped, rounds = session(paired=True, noise=0.04)  # their own noise does not cancel
    assert stopped == "precise"
    assert rounds > 12


def test_the_protocol_of_the_paper_is_ten_warm_ups_and_the_mean_of_three_hundred() -> None:
    clock = FakeClock(noise=0.01)
    settings = settings_named("lacp", seed=3)
    rounds = sample_rounds({"a": clock.workload("a", 1e6)}, settings, clock=clock)
    assert (clock.calls, rounds.stopped, rounds.warmup_rounds) == (310, "protocol", 10)
    samples = rounds.samples["a"]
    assert summary_interval(samples, settings).value == pytest.approx(sum(samples) / 300)
    assert summary_interval(samples, PROTOCOLS["default"]).value == quickest_interval(samples).value
    median = replace(settings, statistic="median")
    assert summary_interval(samples, median).value == median_interval(samples).value
    assert PROTOCOL_BATCH["lacp"] == 128


def test_a_subject_that_raises_leaves_and_the_others_stay_aligned() -> None:
    clock = FakeClock()
    made = 0

    def breaks() -> None:
        nonlocal made
        made += 1
        clock.now += 1e6
        if made > 5:
            raise RuntimeError("out of memory\nby 3 GiB")

    rounds = sample_rounds(
        {"good": clock.workload("good", 1e6), "bad": breaks}, ONCE, clock=clock, recover=(RuntimeError,)
    )
    assert rounds.failures == {"bad": "RuntimeError: out of memory"}
    assert set(rounds.samples) == {"good"}
    assert len(rounds.samples["good"]) == 12
    assert set(rounds.places) == {"good"}


def test_places_are_the_order_in_which_calls_were_made() -> None:
    clock, order = FakeClock(), []

    def call(name: str) -> Callable[[], None]:
        return lambda: (order.append(name), clock.workload(name, 1e6)())[1]

    rounds = sample_rounds({name: call(name) for name in "abc"}, ONCE, clock=clock)
    made = order[3:]  # the first of each says nothing and is not timed
    for number in range(12):
        told = sorted("abc", key=lambda name: rounds.places[name][number])
        assert told == made[3 * number : 3 * number + 3]


def test_what_is_not_to_be_recovered_is_raised_and_all_failing_is_a_failed_session() -> None:
    def breaks() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        sample_rounds({"bad": breaks}, ONCE, clock=FakeClock(), recover=(RuntimeError,))
    for settings in (ONCE, replace(ONCE, warmup_seconds=0.1), replace(ONCE, fixed_warmup=2)):
        rounds = sample_rounds({"bad": breaks}, settings, clock=FakeClock(), recover=(KeyError,))
        assert (rounds.stopped, dict(rounds.samples), list(rounds.failures)) == ("failed", {}, ["bad"])


def test_nothing_to_time_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="no subjects"):
        sample_rounds({}, ONCE)


def test_the_garbage_collector_is_off_while_timing_and_left_as_found() -> None:
    seen = []
    for found in (True, False):
        (gc.enable if found else gc.disable)()
        clock = FakeClock()
        work = clock.workload("a", 1e6)

        def call(work: Callable[[], None] = work) -> None:
            seen.append(gc.isenabled())
            work()

        sample_rounds({"a": call}, ONCE, clock=clock)
        assert gc.isenabled() is found
    gc.enable()
    assert not any(seen)


def test_sync_encloses_every_sample() -> None:
    clock, events = FakeClock(), []
    work = clock.workload("call", 1e6)

    def call() -> None:
        events.append("call")
        work()

    sample_rounds({"a": call}, ONCE, clock=clock, sync=lambda: events.append("sync"))
    assert events == ["sync", "call", "sync"] * 13


def test_samples_that_another_process_interrupted_are_taken_again() -> None:
    """Half of all calls lose the core for as long as they run; processor time tells."""
    clock, used, rng = FakeClock(), 0.0, random.Random(0)

    def call() -> None:
        nonlocal used
        used += 1e6
        clock.now += 1e6 if rng.random() < 0.5 else 2.5e6

    settings = replace(ONCE, min_rounds=60, max_rounds=60)
    blind = sample_rounds({"a": call}, settings, clock=clock)
    aware = sample_rounds({"a": call}, settings, clock=clock, busy=lambda: round(used))
    assert sum(ns > 1_000_000 for ns in blind.samples["a"]) > 20
    assert sum(ns > 1_000_000 for ns in aware.samples["a"]) == 0
    assert blind.retaken == 0
    assert 30 < aware.retaken < 120
    slow = clock.workload("slow", 1e8)
    assert sample_rounds({"a": slow}, ONCE, clock=clock, busy=lambda: round(clock.now / 2)).retaken == 0
    quiet = sample_rounds({"a": clock.workload("a", 1e6)}, ONCE, clock=clock, busy=clock)
    assert quiet.retaken == 0


def test_drift_is_the_second_half_over_the_first_and_one_slow_subject_s_noise_is_none() -> None:
    rng = random.Random(0)
    steady = {name: [round(1e6 * math.exp(rng.gauss(0, 0.01))) for _ in range(40)] for name in "abc"}
    slower = {name: row[:20] + [round(1.2 * ns) for ns in row[20:]] for name, row in steady.items()}
    assert abs(drift_of(steady)) < 0.01
    assert drift_of(slower) == pytest.approx(0.2, abs=0.01)
    assert drift_of({"a": [1, 2, 3]}) == drift_of({}) == 0.0


@pytest.mark.parametrize(("count", "low", "high"), [(12, 3, 10), (20, 6, 15), (50, 18, 33), (100, 40, 61)])
def test_order_statistics_of_the_median_are_the_tabulated_ones(count: int, low: int, high: int) -> None:
    interval = median_interval(list(range(1, count + 1)))
    assert (interval.low, interval.high) == (low, high)


def test_the_median_interval_covers_as_often_as_it_says() -> None:
    rng = random.Random(0)
    hits = 0
    for _ in range(1000):
        interval = median_interval([rng.lognormvariate(0, 1) for _ in range(20)])
        hits += interval.low <= 1.0 <= interval.high
    assert 940 <= hits <= 985


def test_the_mean_interval_covers_as_often_as_it_says() -> None:
    rng = random.Random(1)
    intervals = [mean_interval([rng.gauss(5, 1) for _ in range(100)]) for _ in range(500)]
    assert 460 <= sum(interval.low <= 5 <= interval.high for interval in intervals) <= 490
    assert mean_interval([4]) == mean_interval([4, 4])


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), min_size=1, max_size=40))
def test_ratios_of_swapped_subjects_are_inverse(pairs: list[tuple[int, int]]) -> None:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    forth, back = ratio_interval(a, b), ratio_interval(b, a)
    assert forth.value * back.value == pytest.approx(1)
    assert forth.low * back.high == pytest.approx(1)
    assert forth.low <= forth.value * (1 + 1e-12) <= forth.high * (1 + 1e-9)


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=60), st.sampled_from(sorted(SHARES.values())))
def test_quickest_values_have_the_mean_of_the_quickest(samples: list[float], share: float) -> None:
    quickest = sorted(samples)[: max(1, round(share * len(samples)))]
    found = quickest_values(samples, share)
    assert sum(found) / len(found) == pytest.approx(sum(quickest) / len(quickest), rel=1e-6)
    assert len(found) == len(samples)


@pytest.mark.parametrize("share", SHARES.values())
def test_the_interval_of_the_quickest_covers_as_often_as_it_says(share: float) -> None:
    """Of exponential noise the mean of the lowest share is 1 + q ln(q) / (1 - q), q being the rest."""
    rng = random.Random(2)
    rest = 1 - share
    truth = 1 + rest * math.log(rest) / share
    intervals = [mean_interval(quickest_values([rng.expovariate(1) for _ in range(160)], share)) for _ in range(500)]
    assert 450 <= sum(interval.low <= truth <= interval.high for interval in intervals) <= 490


def planted_states(rounds: int, busy: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """A narrow and a dense network; neighbours slow the one by 30 %, the other by 10 %, for a share of the rounds."""
    rng = random.Random(seed)
    slowed = [rng.random() < busy for _ in range(rounds)]
    noise = [[math.exp(abs(rng.gauss(0, 0.005))) for _ in range(rounds)] for _ in range(2)]
    narrow = [round(5e5 * noise[0][i] * (1.3 if slowed[i] else 1)) for i in range(rounds)]
    return narrow, [round(1e6 * noise[1][i] * (1.1 if slowed[i] else 1)) for i in range(rounds)]


def test_neighbours_that_slow_small_networks_more_do_not_move_the_quiet_ratio() -> None:
    for busy in (0.0, 0.3, 0.6):
        narrow, dense = planted_states(48, busy)
        found = ratio_interval(narrow, dense)
        assert found.value == pytest.approx(0.5, rel=0.003)
        assert found.low <= 0.5 <= found.high
    assert ratio_interval(*planted_states(48, 0.6), statistic="median").value > 0.58


def test_where_neighbours_hardly_ever_pause_the_usual_ratio_repeats_and_the_quiet_one_does_not() -> None:
    """A tenth to two fifths of a session's rounds are undisturbed: how many is chance."""
    sessions = [planted_states(24, 0.75, seed) for seed in range(60)]
    spread = {
        statistic: statistics.stdev(math.log(ratio_interval(*each, statistic=statistic).value) for each in sessions)
        for statistic in SHARES
    }
    assert spread["usual"] < spread["quiet"] / 1.3


def test_several_denominators_count_by_their_geometric_mean() -> None:
    narrow, dense = planted_states(40, 0.3)
    twice = [4 * ns for ns in dense]
    both = ratio_interval(narrow, dense, twice)
    assert both.value == pytest.approx(ratio_interval(narrow, dense).value / 2)
    assert ratio_interval(narrow, dense, twice, statistic="median").value == pytest.approx(
        ratio_interval(narrow, dense, statistic="median").value / 2
    )
    with pytest.raises(MeasurementError, match="40 and 40 and 39"):
        ratio_interval(narrow, dense, twice[1:])


def test_ratios_need_the_same_rounds() -> None:
    with pytest.raises(MeasurementError, match="3 and 2"):
        ratio_interval([1, 2, 3], [1, 2])
    with pytest.raises(MeasurementError):
        ratio_interval([], [])


def test_resolution_sees_offset_and_noise_and_bounds_what_may_be_claimed() -> None:
    rng = random.Random(0)
    drift = [math.exp(rng.gauss(0, 0.2)) for _ in range(50)]
    same = [round(1e6 * d) for d in drift]
    assert aa_resolution(same, same) == 0
    offset = [round(1.02e6 * d) for d in drift]
    assert aa_resolution(offset, same) == pytest.approx(0.02, rel=1e-3)
    noisy = [round(value * math.exp(rng.gauss(0, 0.05))) for value in same]
    assert 0.005 < aa_resolution(noisy, same) < 0.08
    assert claimable_step(0.001) == 0.01
    assert claimable_step(0.02) == pytest.approx(0.06)


def test_protocols_have_names_and_unknown_ones_list_them() -> None:
    assert settings_named("precise", seed=7) == replace(PROTOCOLS["precise"], seed=7)
    assert all(settings.name == name for name, settings in PROTOCOLS.items())
    with pytest.raises(UnknownNameError, match="default, quick, precise, lacp") as caught:
        settings_named("fast")
    assert caught.value.value == "fast"
