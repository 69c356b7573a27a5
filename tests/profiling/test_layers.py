"""Lone layers of different sessions are comparable, each is timed once, and blocks fit into memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from planted_device import PlantedDevice, true_ns
from torch import nn

from tailor.database import Database
from tailor.engines.subjects import layer_module
from tailor.profiling import layers
from tailor.profiling.layers import LayerTimer
from tailor.protocols import Subject
from tailor.records import Measurement, TimingSettings
from tailor.spec import LayerShape
from tailor.timing import sample_cost, settings_named

SHAPE = LayerShape(
    kind="conv", in_channels=16, out_channels=32, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1),
    spatial=(8, 8),
)
WIDE = replace(SHAPE, out_channels=64)


def timer(device: PlantedDevice, database: Database | None = None) -> LayerTimer:
    return LayerTimer(
        device=device, environment=device.environment(), database=database or Database.memory(), batch_size=1,
        settings=settings_named("quick"), seed=0, progress=lambda *step: None,
    )


def ratio(device: PlantedDevice) -> float:
    own = timer(device)
    for shape in (SHAPE, WIDE):
        own.learn([shape], seconds=1.0, ns_per_mac=0.1)
    return own.times[WIDE].ns / own.times[SHAPE].ns


class YoungDevice(PlantedDevice):
    """A planted device that took twice as long for the wide layer in its first sessions."""

    old = 20

    def true_ns(self, module: nn.Module) -> float:
        wide = isinstance(module, nn.Conv2d) and module.out_channels == WIDE.out_channels
        aged = wide and module.in_channels == WIDE.in_channels and len(self.sessions) <= self.old
        return true_ns(module) * (2 if aged else 1)


class SharedDevice(PlantedDevice):
    """A planted device on a host where neighbours slow nine calls in ten, nothing lasts, and the quickest are luck."""

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        draw = random.Random(len(self.sessions))

        def slowed(ns: int) -> int:
            return round(ns * (1.4 if draw.random() < 0.9 else 1.0) * (1 + 0.02 * draw.gauss(0, 1)))

        return [
            replace(measurement, samples_ns=tuple(slowed(ns) for ns in measurement.samples_ns))
            for measurement in super().measure(subjects, settings)
        ]


def test_the_time_told_knows_that_there_is_a_fewest_and_a_most_of_rounds() -> None:
    own = timer(PlantedDevice())
    ns = WIDE.macs * 5.0
    one_round = sample_cost(ns, own.settings, launches=False) / 1e9
    asked = (0.0, 8 * one_round, 1e9)
    told = [own.expected([WIDE, WIDE], seconds=seconds, ns_per_mac=5.0) / one_round for seconds in asked]
    assert told == pytest.approx([4, 8, 36])


def test_a_drift_between_sessions_is_taken_out_by_layers_timed_again() -> None:
    true = true_ns(layer_module(WIDE)) / true_ns(layer_module(SHAPE))
    assert ratio(PlantedDevice(drift=0.2, noise=0.001)) == pytest.approx(true, rel=0.01)


def test_noise_of_the_yardstick_is_not_taken_for_drift() -> None:
    device = PlantedDevice(noise=0.01)
    own = timer(device)
    for out in range(8, 72, 8):
        own.learn([replace(SHAPE, out_channels=out)], seconds=1.0, ns_per_mac=0.1)
    for shape, found in own.times.items():
        assert found.ns == pytest.approx(true_ns(layer_module(shape)), rel=0.02)
        assert found.noise < 0.015


STEPS = [[replace(SHAPE, out_channels=out + step) for out in range(8, 72, 8)] for step in range(5)]


def test_quiet_levels_count_unless_usual_ones_repeat_better() -> None:
    for device, level, statistic in ((PlantedDevice(), 1.0, "quiet"), (SharedDevice(), 1.4, "usual")):
        own = timer(device)
        for step in STEPS:
            own.learn(step, seconds=60.0, ns_per_mac=0.1)
        assert own.statistic == statistic
        ratios = [found.ns / true_ns(layer_module(shape)) for shape, found in own.times.items()]
        assert ratios == pytest.approx([sum(ratios) / len(ratios)] * len(ratios), rel=0.12)
        assert sum(ratios) / len(ratios) == pytest.approx(level, rel=0.05)


def test_some_known_layers_are_timed_again_beside_new_ones_unless_making_them_ready_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "_TIE_SECONDS", 1e6)
    device = PlantedDevice()
    own = timer(device)
    for step in STEPS[:2]:
        own.learn(step, seconds=1.0, ns_per_mac=0.1)
    assert len(device.sessions[1]) == 1 + 8 + 8
    assert own.measured == len({*STEPS[0], *STEPS[1]})
    monkeypatch.setattr(layers, "_TIE_SECONDS", 3.5 * own._ready)
    own.learn(STEPS[2], seconds=1.0, ns_per_mac=0.1)
    assert len(device.sessions[2]) == 1 + 8 + 3

    class Small:
        available = 8 * 8 * layers._bytes(STEPS[0][1], 1)

    monkeypatch.setattr(layers.psutil, "virtual_memory", Small)
    small = own._ties([])
    assert small
    assert max(shape.out_channels for shape in small) <= STEPS[0][1].out_channels


def test_what_is_recalled_is_what_was_measured() -> None:
    database, device = Database.memory(), PlantedDevice(drift=0.03, noise=0.01)
    first, second = timer(device, database), timer(device, database)
    for step in STEPS:
        first.learn(step, seconds=1.0, ns_per_mac=0.1)
    sessions = len(device.sessions)
    for step in reversed(STEPS):
        second.learn(step, seconds=1.0, ns_per_mac=0.1)
    assert len(device.sessions) == sessions
    assert (second.found, second.measured) == (len({shape for step in STEPS for shape in step}), 0)
    clock = second.times[SHAPE].ns / first.times[SHAPE].ns
    for shape, found in first.times.items():
        assert second.times[shape].ns == pytest.approx(clock * found.ns, rel=2e-3)
        assert second.times[shape].noise == pytest.approx(found.noise, rel=0.4)


def test_a_layer_that_many_sessions_know_is_recalled_from_the_latest() -> None:
    database, device = Database.memory(), YoungDevice(noise=0.001)
    keys = [layers.layer_key(shape) for shape in (SHAPE, WIDE, layers._YARDSTICK)]
    for _ in range(YoungDevice.old + 8):
        once = timer(device)
        once.learn([SHAPE, WIDE], seconds=1.0, ns_per_mac=0.1)
        found = once.database.find(device.environment().key, keys)
        database.add(device.environment(), [*found.values()])
    own = timer(device, database)
    own.learn([SHAPE, WIDE], seconds=1.0, ns_per_mac=0.1)
    assert own.found == 2
    true = true_ns(layer_module(WIDE)) / true_ns(layer_module(SHAPE))
    assert own.times[WIDE].ns / own.times[SHAPE].ns == pytest.approx(true, rel=0.01)


def test_each_shape_is_timed_once_and_failures_are_kept() -> None:
    device = PlantedDevice(fails=lambda subject: "->64 on 8x8" in subject.key)
    own = timer(device)
    own.learn([SHAPE, WIDE, SHAPE], seconds=1.0, ns_per_mac=0.1)
    own.learn([SHAPE, WIDE], seconds=1.0, ns_per_mac=0.1)
    assert len(device.sessions) == 1
    assert own.measured == 1
    assert own.failures == {WIDE: "RuntimeError: planted"}


def test_numbers_from_sessions_without_a_yardstick_are_not_trusted() -> None:
    database, device = Database.memory(), PlantedDevice()
    first = timer(device, database)
    first.learn([SHAPE], seconds=1.0, ns_per_mac=0.1)
    strays = timer(device, Database.memory())
    strays.learn([WIDE], seconds=1.0, ns_per_mac=0.1)
    database.add(device.environment(), list(strays.database.find(device.environment().key, [
        layers.layer_key(WIDE)]).values()))
    second = timer(device, database)
    second.learn([SHAPE, WIDE], seconds=1.0, ns_per_mac=0.1)
    assert (second.found, second.measured) == (1, 1)


def test_sessions_are_cut_by_memory_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [replace(SHAPE, out_channels=out) for out in range(1, 101)]
    assert [len(block) for block in layers._blocks(shapes, 1)] == [64, 36]

    class Small:
        available = 8 * 3 * layers._bytes(shapes[-1], 1000)

    monkeypatch.setattr(layers.psutil, "virtual_memory", Small)
    blocks = layers._blocks(shapes, 1000)
    assert [shape for block in blocks for shape in block] == shapes
    assert max(len(block) for block in blocks) <= 3
    assert layers._blocks([], 1) == []
