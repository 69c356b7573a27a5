"""`measure` reports what it timed, finds no difference where there is none, and one where there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from tailor.errors import InvalidOptionError, MeasurementError, UnknownNameError
from tailor.measuring import Comparison, compare, measure
from tailor.measuring import networks as measuring
from tailor.protocols import Subject
from tailor.records import Environment, Interval, Measurement, TimingSettings
from tailor.spec import Target

FEW = TimingSettings(name="few", min_rounds=12, max_rounds=12, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0)
X = torch.zeros(1, 64)


class PlantedDevice:
    """Every module takes `ns` of its own, the same drift for all in each round; instances are off by turns."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def environment(self) -> Environment:
        return Environment(facts={"planted": "yes"})

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        rounds = range(settings.min_rounds)
        return [
            Measurement(
                subject=subject.key, environment=self.environment().key, session="s", stopped="rounds",
                samples_ns=tuple(round(subject.module.ns * (1 + 0.05 * i) * self.effect(subject.key)) for i in rounds),
            )
            for subject in subjects
        ]

    def effect(self, key: str) -> float:
        """Instance 1 is fast, 2 as planted, 3 slow."""
        return 1 + self.offset * (int(key[-1]) - 2)


def taking(ns: float) -> nn.Module:
    module = nn.Identity()
    module.ns = ns  # type: ignore[assignment]
    return module


def test_a_network_is_timed_with_interval_rounds_instances_and_conditions() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    timing = measure(model, X, Target(batch_size=4), settings=FEW)
    assert not timing.settings.paired
    assert timing.latency.low <= timing.ns <= timing.latency.high + 1
    assert (timing.rounds, timing.instances, timing.stopped) == (12, 3, "rounds")
    assert timing.resolution >= 0
    assert (timing.ratio, timing.comparison, timing.versus_latency) == (None, None, None)
    assert timing.environment.facts["batch_size"] == "4"
    assert timing.conditions is not None
    assert timing.conditions.samples == 36


def test_the_same_network_is_never_faster_or_slower_than_itself() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    timing = measure(model, X, Target(), settings=FEW, versus=model)
    assert timing.settings.paired  # the ratio is what must be known
    assert timing.comparison in (Comparison.SAME, Comparison.UNDECIDED)


def test_less_time_is_faster_and_the_other_way_round_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "open_device", lambda target: PlantedDevice())
    assert measure(taking(1e5), X, Target(), settings=FEW, versus=taking(1e6)).comparison is Comparison.FASTER
    slower = measure(taking(1e6), X, Target(), settings=FEW, versus=taking(1e5))
    assert slower.comparison is Comparison.SLOWER
    assert slower.versus_latency is not None
    assert slower.versus_latency.value == pytest.approx(1.049e5, rel=1e-3)  # the quickest quarter; it drifts to 1.5e5
    assert slower.typical_ns == pytest.approx(1.275e6)


def test_planted_ratios_and_instance_effects_are_recovered_through_a_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "open_device", lambda target: PlantedDevice(offset=0.004))
    timing = measure(taking(0.9e6), X, Target(), settings=FEW, versus=taking(1e6))
    assert timing.ratio is not None
    assert timing.ratio.value == pytest.approx(0.9, rel=1e-4)
    assert timing.ratio.high - timing.ratio.low > 0.01  # the rounds agree to the nanosecond, the instances do not
    assert timing.resolution == pytest.approx(0.004, rel=0.02)
    assert timing.comparison is Comparison.FASTER
    within = measure(taking(0.999e6), X, Target(), settings=FEW, versus=taking(1e6))
    assert within.comparison is Comparison.SAME


def test_instances_that_differ_more_than_the_networks_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round of every session would say 3 % faster."""
    monkeypatch.setattr(measuring, "open_device", lambda target: PlantedDevice(offset=0.03))
    timing = measure(taking(0.97e6), X, Target(), settings=FEW, versus=taking(1e6))
    assert timing.comparison is Comparison.UNDECIDED


def test_instances_are_as_many_as_asked_and_never_one() -> None:
    model = nn.Linear(64, 8)
    assert measure(model, X, Target(), settings=FEW, instances=5).instances == 5
    assert measure(model, X, Target(), settings=replace(FEW, fixed_warmup=1)).instances == 2
    with pytest.raises(InvalidOptionError, match="1 instance"):
        measure(model, X, Target(), settings=FEW, instances=1)


def interval(low: float, value: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("ratio", "resolution", "expected"),
    [
        (interval(0.90, 0.92, 0.94), 0.001, Comparison.FASTER),
        (interval(0.90, 0.92, 0.94), 0.03, Comparison.UNDECIDED),
        (interval(0.90, 0.92, 1.01), 0.001, Comparison.UNDECIDED),
        (interval(0.992, 0.993, 0.994), 0.001, Comparison.SAME),
        (interval(0.96, 1.0, 1.04), 0.015, Comparison.SAME),
        (interval(0.96, 1.0, 1.04), 0.02, Comparison.UNDECIDED),
        (interval(0.96, 1.0, 1.04), 0.001, Comparison.UNDECIDED),
        (interval(1.05, 1.06, 1.07), 0.001, Comparison.SLOWER),
        (interval(0.99, 1.06, 1.07), 0.001, Comparison.UNDECIDED),
        (interval(1.02, 1.03, 1.04), 0.015, Comparison.SAME),
        (interval(1.05, 1.06, 1.07), 0.03, Comparison.UNDECIDED),
    ],
)
def test_no_win_below_the_claimable_step(ratio: Interval, resolution: float, expected: Comparison) -> None:
    assert compare(ratio, resolution) is expected


def test_means_over_more_instances_allow_smaller_claims_but_no_wider_sameness() -> None:
    ratio = interval(0.96, 0.97, 0.98)
    assert compare(ratio, 0.015) is Comparison.SAME
    assert compare(ratio, 0.015, instances=4) is Comparison.FASTER
    assert compare(interval(0.93, 0.97, 1.01), 0.001, instances=100) is Comparison.UNDECIDED


def test_a_network_that_refuses_its_input_is_one_line() -> None:
    with pytest.raises(MeasurementError, match="the network could not be timed: RuntimeError") as caught:
        measure(nn.Linear(3, 3), X, Target(), settings=FEW)
    assert "\n" not in str(caught.value)
    with pytest.raises(MeasurementError, match="the other network"):
        measure(nn.Linear(64, 3), X, Target(), settings=FEW, versus=nn.Linear(3, 3))


def test_bad_targets_are_refused() -> None:
    with pytest.raises(UnknownNameError):
        measure(nn.Linear(64, 3), X, Target(engine="tvm"))
    with pytest.raises(InvalidOptionError):
        measure(nn.Linear(64, 3), X, Target(precision="int3"))
