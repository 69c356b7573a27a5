"""Whole-network probes keep to their time, and what was disturbed is timed again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

import psutil
import pytest

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.profiling.networks import NetworkTime, TimedNetworks
from tailor.profiling.pace import Pace
from tailor.profiling.probed import Probed, Said
from tailor.profiling.probes import NetworkProbes
from tailor.records import Environment, TimingSettings
from tailor.spec import Widths
from tailor.timing import SHARES

NETWORKS = [Widths({"g": width}) for width in range(1, 81)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class PlantedTimer:
    """Takes planted seconds to make a network ready and in each round; some networks are disturbed the first time.

    As a real session does, it goes on from the fewest rounds to the most where a network is noisy.
    """

    def __init__(
        self, clock: Clock, seconds: float, disturbed: Sequence[Widths] = (), apart: int = 0, prepare: float = 0.0
    ) -> None:
        self.clock, self.seconds, self.disturbed, self.prepare = clock, seconds, set(disturbed), prepare
        self.log: list[tuple[Widths, int]] = []
        self.apart, self.sessions = apart, 0
        self.failing: set[Widths] = set()
        self.noise, self.noisy = 0.01, None
        self.size = 1_000

    def bytes(self, widths: Widths) -> int:
        return self.size

    family = "networks"

    def key(self, widths: Widths) -> str:
        return f"network {widths['g']}"

    def time(
        self, networks: Sequence[Widths], settings: TimingSettings, *, account: bool = False
    ) -> TimedNetworks:
        running = [widths for widths in networks if widths not in self.failing]
        noise = {
            widths: 0.3 if widths in self.disturbed or widths == self.noisy else self.noise for widths in running
        }
        self.disturbed.difference_update(running)
        reach = 1.96 * max(noise.values(), default=0.0)
        rounds = settings.max_rounds if reach > settings.half_width else settings.min_rounds
        in_rounds = self.seconds * (rounds + 1) * len(running)
        self.clock.now += in_rounds + self.prepare * len(running)
        self.log += [(widths, rounds) for widths in running]
        found = {
            widths: NetworkTime(ratio=1 + value, low=1, high=1 + 2 * value) for widths, value in noise.items()
        }
        self.sessions += 1
        instances = (1000.0, 1000.0 + self.apart * (-1) ** self.sessions)
        return TimedNetworks(
            session=str(self.sessions),
            times=dict.fromkeys(SHARES, found),
            accounts={},
            instances=dict.fromkeys(SHARES, instances),
            rounds=rounds,
            seconds=in_rounds,
            measurements=(),
        )


def probed(
    timer: PlantedTimer,
    *,
    seconds: float,
    guess: float,
    device: str = "cpu",
    error: Callable[[Mapping[Widths, NetworkTime]], float] = lambda times: 0.0,
) -> Probed:
    runner = NetworkProbes(
        timer=timer, environment=Environment(facts={"device": device}), database=Database.memory(), seed=0,  # type: ignore[arg-type]
        progress=lambda *step: None, clock=timer.clock,
    )
    return runner.time(NETWORKS, seconds=seconds, pace=Pace(prepare=timer.prepare, one_round=guess), error=error)


def test_rounds_end_when_the_ratios_are_known_and_go_on_where_they_are_noisy() -> None:
    timer = PlantedTimer(Clock(), 0.005)
    assert len(probed(timer, seconds=100, guess=0.007).times) == 80
    assert {rounds for _, rounds in timer.log} == {12}
    noisy = PlantedTimer(Clock(), 0.005)
    noisy.noise = 0.05
    assert len(probed(noisy, seconds=100, guess=0.007).times) == 80
    assert {rounds for _, rounds in noisy.log} == {36}


def test_noise_takes_the_time_there_is_and_no_network_away() -> None:
    """80 networks that take a second to make ready: 36 rounds of each would need 169 s, and further sessions more."""
    timer = PlantedTimer(Clock(), 0.03, prepare=1.0)
    timer.noise = 0.05
    assert len(probed(timer, seconds=168, guess=0.03).times) == 80
    assert 160 < timer.clock.now < 175
    rounds = [rounds for _, rounds in timer.log]
    assert min(rounds) >= 23
    assert max(rounds) <= 25


def test_where_making_ready_takes_longest_networks_are_left_out_rather_than_rounds() -> None:
    timer = PlantedTimer(Clock(), 0.05, prepare=2.0)
    timer.noise = 0.05
    assert len(probed(timer, seconds=120, guess=0.05).times) == 45
    assert {rounds for _, rounds in timer.log} == {12}


def test_a_slow_network_gets_fewer_rounds_and_then_fewer_networks_but_never_too_few() -> None:
    timer = PlantedTimer(Clock(), 0.2)
    assert len(probed(timer, seconds=120, guess=0.28).times) == 80
    assert max(rounds for _, rounds in timer.log) < 10
    assert 90 < timer.clock.now < 140
    crawling = PlantedTimer(Clock(), 4.0)
    assert len(probed(crawling, seconds=120, guess=5.0).times) == 24
    assert {rounds for _, rounds in crawling.log} == {4}


def test_a_guess_that_was_wrong_is_corrected_by_what_blocks_take() -> None:
    timer = PlantedTimer(Clock(), 0.2)  # the guess says 0.01
    probed(timer, seconds=120, guess=0.01)
    assert timer.clock.now < 180
    assert timer.log[0][1] == 12
    assert timer.log[-1][1] < 10


def test_disturbed_networks_are_timed_again_and_the_quieter_time_counts() -> None:
    disturbed = NETWORKS[10:14]
    timer = PlantedTimer(Clock(), 0.005, disturbed)
    times = probed(timer, seconds=100, guess=0.007).times
    assert [widths for widths, _ in timer.log[80:]] == disturbed
    assert [found.ratio for found in times.values()] == pytest.approx([1.01] * 80, rel=1e-3)
    assert list(times) == NETWORKS


def test_on_a_noisy_machine_every_network_is_timed_again_for_as_long_as_the_first_time_took() -> None:
    timer = PlantedTimer(Clock(), 0.005)
    timer.noise = 0.05
    found = probed(timer, seconds=100, guess=0.007)
    assert 2 * 80 <= len(timer.log) <= 2 * 80 + 8
    assert min(len(sessions) for sessions in found.sessions.values()) == 2
    alone = NetworkTime(ratio=1.05, low=1, high=1.1).noise
    assert max(time.noise for time in found.times.values()) == pytest.approx(alone / 2**0.5, rel=0.01)


class QuietOnesScatter(PlantedTimer):
    """By quiet levels no network is known to 1 %, by usual ones all are."""

    def time(self, networks: Sequence[Widths], settings: TimingSettings, *, account: bool = False) -> TimedNetworks:
        found = super().time(networks, settings, account=account)
        precise = {widths: NetworkTime(ratio=2.0, low=1.99, high=2.01) for widths in found.times["usual"]}
        return replace(found, times={**found.times, "usual": precise})


def test_what_counts_is_chosen_before_doubtful_networks_are_timed_again() -> None:
    """By how closely a model tells networks that it has not seen, which are 2 by usual levels."""
    for usual, best, again in ((0.5, "usual", False), (1.0, "quiet", True)):
        timer = QuietOnesScatter(Clock(), seconds=0.01)
        timer.noise = 0.05
        found = probed(
            timer, seconds=60, guess=0.01,
            error=lambda times, usual=usual: usual if times[NETWORKS[0]].ratio == 2.0 else 1.0,  # type: ignore[misc]
        )
        assert found.statistic == best
        assert (max(map(len, found.sessions.values())) > 1) == again


def test_little_time_left_is_enough_for_the_noisiest() -> None:
    timer = PlantedTimer(Clock(), 0.2, NETWORKS[:39])
    found = probed(timer, seconds=60, guess=0.28)
    again = len(timer.log) - len(found.sessions)
    assert 8 <= again <= 24
    assert all(len(found.sessions[widths]) == 2 for widths, _ in timer.log[-again:])


def test_a_network_is_timed_four_times_at_most() -> None:
    timer = PlantedTimer(Clock(), 0.005)
    timer.noisy = NETWORKS[3]
    found = probed(timer, seconds=100, guess=0.007)
    assert len(found.sessions[NETWORKS[3]]) == 4
    assert len(timer.log) == 80 + 3


def test_a_gpu_holds_few_networks_at_once_and_a_processor_many() -> None:
    """On a processor first 24, which tell how long they take, and then all others."""
    for device, sessions in (("cuda:0", 10), ("cpu", 2)):
        timer = PlantedTimer(Clock(), 0.005)
        assert len(probed(timer, seconds=100, guess=0.007, device=device).times) == 80
        assert timer.sessions == sessions


def test_the_slower_networks_are_the_fewer_a_session_holds() -> None:
    """After the first 24: as many as take two seconds a round, but never fewer than these."""
    for seconds, sessions in ((0.02, 2), (0.06, 3), (0.5, 4)):
        timer = PlantedTimer(Clock(), seconds)
        assert len(probed(timer, seconds=2000, guess=seconds).times) == 80
        assert timer.sessions == sessions


def test_a_session_holds_no_more_networks_than_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = PlantedTimer(Clock(), 0.005)
    free = psutil.virtual_memory()._replace(available=400 * 1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    timer.size = 8_000_000  # a quarter of the memory holds twelve
    assert len(probed(timer, seconds=100, guess=0.007).times) == 80
    assert timer.sessions == math.ceil(80 / 12)
    large = PlantedTimer(Clock(), 0.005)
    large.size = 10**9  # a session of fewer than eight would tell nothing of its state
    assert len(probed(large, seconds=100, guess=0.007).times) == 80
    assert large.sessions == 10


def test_how_far_instances_of_the_dense_network_lie_apart_is_their_noise() -> None:
    """Two instances that differ by 3 % have 3 % / sqrt(2) each."""
    timer = PlantedTimer(Clock(), 0.005, apart=30)
    assert probed(timer, seconds=100, guess=0.007).instance_noise == pytest.approx(0.0212, rel=0.02)
    assert 2 * 80 <= len(timer.log) <= 2 * 80 + 8  # worth a second session each, however quiet the first was
    alike = probed(PlantedTimer(Clock(), 0.005), seconds=100, guess=0.007)
    assert alike.instance_noise == Probed().instance_noise == 0


def test_all_instances_of_all_sessions_tell_how_far_they_lie_apart() -> None:
    """Each about its own session's mean: what a session adds to all of them is no noise of theirs."""
    found, random = Said(), Random(0)
    for session in range(200):
        found.instances.append(tuple(1e6 * (1 + session / 100) * math.exp(random.gauss(0, 0.02)) for _ in range(5)))
    assert found.instance_noise == pytest.approx(0.02, rel=0.08)


@pytest.mark.parametrize("bad", [[0], list(range(30, 60))])
def test_the_narrowest_and_nine_of_ten_networks_must_run(bad: list[int]) -> None:
    timer = PlantedTimer(Clock(), 0.005)
    timer.failing = {NETWORKS[index] for index in bad}
    with pytest.raises(MeasurementError, match=f"{len(bad)} of 80 narrowed networks could not be run"):
        probed(timer, seconds=100, guess=0.007)
    timer.failing = set(NETWORKS[40:48])
    assert len(probed(timer, seconds=100, guess=0.007).times) == 72
