"""Whole-network probes keep to their time, and what was disturbed is timed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.profiling import probes
from tailor.profiling.networks import NetworkTime, TimedNetworks
from tailor.profiling.probes import NetworkProbes, Probed
from tailor.records import Environment, TimingSettings
from tailor.spec import Widths

NETWORKS = [Widths({"g": width}) for width in range(1, 81)]


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class PlantedTimer:
    """Takes planted seconds per network and round; some networks are disturbed the first time."""

    def __init__(self, clock: Clock, seconds: float, disturbed: Sequence[Widths] = (), apart: int = 0) -> None:
        self.clock, self.seconds, self.disturbed = clock, seconds, set(disturbed)
        self.log: list[tuple[Widths, int]] = []
        self.apart, self.sessions = apart, 0
        self.failing: set[Widths] = set()
        self.noise, self.noisy = 0.01, None

    def key(self, widths: Widths) -> str:
        return f"network {widths['g']}"

    def time(
        self, networks: Sequence[Widths], settings: TimingSettings, *, account: bool = False
    ) -> TimedNetworks:
        found = {}
        for widths in networks:
            if widths in self.failing:
                continue
            self.clock.now += self.seconds * (settings.max_rounds + 1)
            self.log.append((widths, settings.max_rounds))
            noise = 0.3 if widths in self.disturbed or widths == self.noisy else self.noise
            self.disturbed.discard(widths)
            found[widths] = NetworkTime(ratio=1 + noise, low=1, high=1 + 2 * noise)
        self.sessions += 1
        dense = ((1000, 1000, 1000), (1000 + self.apart * (-1) ** self.sessions,) * 3)
        return TimedNetworks(times=found, accounts={}, dense=dense, measurements=())


def probed(monkeypatch: Any, timer: PlantedTimer, *, seconds: float, guess: float) -> Probed:
    monkeypatch.setattr(probes, "time", timer.clock)
    runner = NetworkProbes(
        timer=timer, environment=Environment(facts={}), database=Database.memory(), seed=0,  # type: ignore[arg-type]
        progress=lambda *step: None,
    )
    return runner.time(NETWORKS, seconds=seconds, dense_seconds=guess)


def test_plenty_of_time_gives_every_network_all_rounds(monkeypatch: Any) -> None:
    timer = PlantedTimer(Clock(), 0.005)
    assert len(probed(monkeypatch, timer, seconds=100, guess=0.007).times) == 80
    assert {rounds for _, rounds in timer.log} == {12}


def test_a_slow_network_gets_fewer_rounds_and_then_fewer_networks_but_never_too_few(monkeypatch: Any) -> None:
    timer = PlantedTimer(Clock(), 0.2)
    assert len(probed(monkeypatch, timer, seconds=120, guess=0.28).times) == 80
    assert max(rounds for _, rounds in timer.log) < 10
    assert 90 < timer.clock.now < 140
    crawling = PlantedTimer(Clock(), 4.0)
    assert len(probed(monkeypatch, crawling, seconds=120, guess=5.0).times) == 24
    assert {rounds for _, rounds in crawling.log} == {4}


def test_a_guess_that_was_wrong_is_corrected_by_what_blocks_take(monkeypatch: Any) -> None:
    timer = PlantedTimer(Clock(), 0.2)  # the guess says 0.01
    probed(monkeypatch, timer, seconds=120, guess=0.01)
    assert timer.clock.now < 180
    assert timer.log[0][1] == 12
    assert timer.log[-1][1] < 10


def test_disturbed_networks_are_timed_again_and_the_quieter_time_counts(monkeypatch: Any) -> None:
    disturbed = NETWORKS[10:14]
    timer = PlantedTimer(Clock(), 0.005, disturbed)
    times = probed(monkeypatch, timer, seconds=100, guess=0.007).times
    assert [widths for widths, _ in timer.log[80:]] == disturbed
    assert [found.ratio for found in times.values()] == pytest.approx([1.01] * 80, rel=1e-3)
    assert list(times) == NETWORKS


def test_on_a_noisy_machine_every_network_is_timed_again_for_as_long_as_the_first_time_took(monkeypatch: Any) -> None:
    timer = PlantedTimer(Clock(), 0.005)
    timer.noise = 0.05
    found = probed(monkeypatch, timer, seconds=100, guess=0.007)
    first, again = 80 * 13 * 0.005, (len(timer.log) - 80) * 7 * 0.005
    assert again == pytest.approx(first, rel=0.06)
    assert {len(sessions) for sessions in found.sessions.values()} == {2, 3}
    alone = NetworkTime(ratio=1.05, low=1, high=1.1).noise
    assert max(time.noise for time in found.times.values()) == pytest.approx(alone / 2**0.5, rel=0.01)


def test_little_time_left_is_enough_for_the_noisiest(monkeypatch: Any) -> None:
    timer = PlantedTimer(Clock(), 0.2, NETWORKS[:39])
    found = probed(monkeypatch, timer, seconds=60, guess=0.28)
    again = len(timer.log) - len(found.sessions)
    assert 8 <= again <= 16
    assert all(len(found.sessions[widths]) == 2 for widths, _ in timer.log[-again:])


def test_a_network_is_timed_four_times_at_most(monkeypatch: Any) -> None:
    timer = PlantedTimer(Clock(), 0.005)
    timer.noisy = NETWORKS[3]
    found = probed(monkeypatch, timer, seconds=100, guess=0.007)
    assert len(found.sessions[NETWORKS[3]]) == 4
    assert len(timer.log) == 80 + 3


def test_how_far_instances_of_the_dense_network_lie_apart_is_their_noise(monkeypatch: Any) -> None:
    """Two instances that differ by 3 % have 3 % / sqrt(2) each."""
    timer = PlantedTimer(Clock(), 0.005, apart=30)
    assert probed(monkeypatch, timer, seconds=100, guess=0.007).instance_noise == pytest.approx(0.0212, rel=0.02)
    alike = probed(monkeypatch, PlantedTimer(Clock(), 0.005), seconds=100, guess=0.007)
    assert alike.instance_noise == Probed().instance_noise == 0


@pytest.mark.parametrize("bad", [[0], list(range(30, 60))])
def test_the_narrowest_and_nine_of_ten_networks_must_run(monkeypatch: Any, bad: list[int]) -> None:
    timer = PlantedTimer(Clock(), 0.005)
    timer.failing = {NETWORKS[index] for index in bad}
    with pytest.raises(MeasurementError, match=f"{len(bad)} of 80 narrowed networks could not be run"):
        probed(monkeypatch, timer, seconds=100, guess=0.007)
    timer.failing = set(NETWORKS[40:48])
    assert len(probed(monkeypatch, timer, seconds=100, guess=0.007).times) == 72
