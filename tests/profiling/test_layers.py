"""Lone layers of different sessions are comparable, each is timed once, and blocks fit into memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planted_device import PlantedDevice, true_ns

from tailor.database import Database
from tailor.engines.subjects import layer_module
from tailor.profiling import layers
from tailor.profiling.layers import LayerTimer
from tailor.records import Measurement
from tailor.spec import LayerShape
from tailor.timing import settings_named

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


def test_a_layer_takes_what_its_quickest_rounds_take() -> None:
    busy = Measurement(
        subject="layer", environment="e", session="s", samples_ns=(1000,) * 3 + (1300,) * 9, stopped="rounds"
    )
    assert layers._lone_time(busy).ns == 1000


def test_a_drift_between_sessions_is_taken_out_by_the_yardstick() -> None:
    true = true_ns(layer_module(WIDE)) / true_ns(layer_module(SHAPE))
    assert ratio(PlantedDevice(drift=0.2, noise=0.001)) == pytest.approx(true, rel=0.01)


def test_noise_of_the_yardstick_is_not_taken_for_drift() -> None:
    device = PlantedDevice(noise=0.01)
    own = timer(device)
    for out in range(8, 72, 8):
        own.learn([replace(SHAPE, out_channels=out)], seconds=1.0, ns_per_mac=0.1)
    for shape, found in own.times.items():
        assert found.ns == pytest.approx(true_ns(layer_module(shape)), rel=0.02)
        assert found.noise < 0.01


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
