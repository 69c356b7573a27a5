"""Sessions of whole networks: how many instances of the dense one they hold, and what is recalled of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from planted_device import PlantedDevice

from shared_host import on_a_shared_host
from tailor.channels import trace
from tailor.latency.candidates import draw_networks
from tailor.profiling.networks import NetworkTimer, TimedNetworks
from tailor.protocols import Subject
from tailor.records import Measurement, TimingSettings
from tailor.timing import settings_named
from tiny_net import make

MODEL, X = make(), torch.zeros(1, 3, 32, 32)
GRAPH = trace(MODEL, X)


class Instances(PlantedDevice):
    """Every instance takes longer or shorter by itself, in all its samples."""

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        own = [1 + 0.1 * self._random.gauss(0, 1) for _ in subjects]
        return [
            replace(each, samples_ns=tuple(round(ns * factor) for ns in each.samples_ns))
            for each, factor in zip(super().measure(subjects, settings), own, strict=True)
        ]


def timed(device: PlantedDevice, count: int) -> tuple[NetworkTimer, TimedNetworks]:
    timer = NetworkTimer(model=MODEL, graph=GRAPH, example_inputs=X, batch_size=1, device=device)
    networks = draw_networks(GRAPH, {group.name: (group.smallest, group.width) for group in GRAPH.groups}, count, 0)
    return timer, timer.time(networks, settings_named("quick"))


@pytest.mark.parametrize(("networks", "instances"), [(1, 2), (8, 2), (30, 5)])
def test_the_more_networks_a_session_holds_the_more_dense_ones_they_are_compared_with(
    networks: int, instances: int
) -> None:
    device = PlantedDevice()
    timer, found = timed(device, networks)
    dense = timer.key(GRAPH.dense_widths)
    expected = [dense, *(f"{dense} copy {copy}" for copy in range(1, instances))]
    assert device.sessions[0][:instances] == expected
    assert {statistic: len(latencies) for statistic, latencies in found.instances.items()} == {
        "quiet": instances,
        "usual": instances,
    }


def test_ratios_are_to_the_mean_of_all_instances_and_recalled_ones_are_equal() -> None:
    timer, found = timed(Instances(), 30)
    by_key = {each.subject: each for each in found.measurements}
    dense = statistics.geometric_mean(found.instances["usual"])
    usual = found.times["usual"]
    for widths, time in usual.items():
        own = by_key[timer.key(widths)].samples_ns
        assert time.ratio == pytest.approx(sum(own) / len(own) / dense, rel=0.01)
    assert timer.ratios([*usual], by_key) == found.times


def test_a_dense_instance_that_failed_is_no_yardstick() -> None:
    _, found = timed(PlantedDevice(fails=lambda subject: subject.key.endswith(" copy 2")), 30)
    _, sound = timed(PlantedDevice(), 30)
    assert (len(found.instances["quiet"]), len(sound.instances["quiet"])) == (4, 5)
    for widths, time in found.times["usual"].items():
        assert time.ratio == pytest.approx(sound.times["usual"][widths].ratio, rel=0.02)


class Shared(PlantedDevice):
    """Planted latencies on a shared host."""

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        return on_a_shared_host(super().measure(subjects, settings), seed=0)


def test_usual_levels_are_those_of_the_session_s_usual_moment() -> None:
    _, plain = timed(PlantedDevice(), 30)
    timer, found = timed(Shared(), 30)

    def error(told: TimedNetworks) -> float:
        truth = plain.times["usual"]
        off = [time.ratio / truth[widths].ratio - 1 for widths, time in told.times["usual"].items()]
        return math.sqrt(sum(each**2 for each in off) / len(off))

    def apart(told: TimedNetworks) -> float:
        return statistics.stdev(math.log(ns) for ns in told.instances["usual"])

    measured = {each.subject: replace(each, places=()) for each in found.measurements}
    blind = replace(found, times=timer.ratios([*found.times["usual"]], measured), instances=timer.instances(measured))
    assert error(found) < 0.8 * error(blind)
    assert apart(found) < 0.8 * apart(blind)  # instances of the dense network, too
    assert found.times["quiet"] == blind.times["quiet"]  # the quickest calls need no telling
