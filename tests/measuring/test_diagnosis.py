"""A flat network is explained by what was measured, a network that narrowing helps is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.measuring.diagnosis import diagnose, diagnosis_of
from tailor.protocols import Subject
from tailor.records import Environment, Interval, Measurement, NodeTime, TimingSettings
from tailor.spec import Target

FEW = TimingSettings(name="few", min_rounds=12, max_rounds=12, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0)
DENSE = Interval(value=1e6, low=0.99e6, high=1.01e6)


def span(value: float) -> Interval:
    return Interval(value=value, low=0.99 * value, high=1.01 * value)


@dataclass
class PlantedBench:
    """A call takes `start` per network, and `work` per image and unit of width."""

    start: float
    work: float
    nodes: tuple[NodeTime, ...] | None = ()
    largest: int = 1000
    target: Target = field(default_factory=Target)
    asked: list[str] = field(default_factory=list)
    paired: set[bool] = field(default_factory=set)

    def environment(self) -> Environment:
        return Environment(facts={})

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        self.paired.add(settings.paired)
        return [self._measured(subject, settings.min_rounds) for subject in subjects]

    def _measured(self, subject: Subject, rounds: int) -> Measurement:
        self.asked.append(subject.key)
        batch = len(subject.inputs[0])
        failure = "RuntimeError: out of memory" if batch > self.largest else None
        ns = round(self.start + self.work * batch * subject.module.width)
        return Measurement(
            subject=subject.key, environment=self.environment().key, session="s", stopped="rounds",
            samples_ns=(ns,) * rounds, failure=failure,
        )

    def node_times(self, subject: Subject, calls: int) -> tuple[NodeTime, ...]:
        if self.nodes is None:
            raise MeasurementError("does not tell")
        return self.nodes


def of_width(width: float) -> Subject:
    module = nn.Identity()
    module.width = width  # type: ignore[assignment]
    return network_subject("net", module, torch.zeros(1, 3), 1)


def narrow(*widths: float) -> dict[str, Subject]:
    return {f"narrow {width}": of_width(width) for width in widths}


def node(layer: str | None, ns: float) -> NodeTime:
    return NodeTime(name=layer or "add", layer=layer, kind="Conv", kernel="", ns=ns)


def test_a_network_that_narrowing_helps_is_left_alone_after_one_session() -> None:
    bench = PlantedBench(start=1e5, work=9e5)
    found = diagnose(bench, of_width(1.0), narrow(0.2), prunable=(), settings=FEW)  # type: ignore[arg-type]
    assert found is None
    assert len(bench.asked) == 4
    assert bench.paired == {True}  # a share of the dense latency is asked for


def test_a_kernel_that_is_slow_for_the_narrowest_layers_alone_does_not_make_a_network_flat() -> None:
    """One channel takes as long as twelve, as in OpenVINO on a Zen 3."""
    bench = PlantedBench(start=0, work=1e6)
    gains = narrow(0.95, 0.2, 0.3)
    assert diagnose(bench, of_width(1.0), gains, prunable=(), settings=FEW) is None  # type: ignore[arg-type]
    assert len(bench.asked) == 4 + 8
    found = diagnose(bench, of_width(1.0), narrow(0.95, 0.92), prunable=(), settings=FEW)  # type: ignore[arg-type]
    assert found is not None
    assert found.narrowest.value == pytest.approx(0.92, rel=1e-3)


def test_a_launch_bound_network_is_told_with_its_busy_share_and_what_helps() -> None:
    nodes = (node("a", 2e5), node("b", 1e5), node(None, 1e5))
    bench = PlantedBench(start=9.5e5, work=5e4, nodes=nodes)
    found = diagnose(bench, of_width(1.0), narrow(0.2), prunable={"a"}, settings=FEW)  # type: ignore[arg-type]
    assert found is not None
    assert (found.busy, found.prunable) == (pytest.approx(0.4, rel=1e-3), 0.5)
    assert found.doubled is not None
    assert found.doubled.value == pytest.approx(1.05, rel=1e-3)
    text = " ".join(found.sentences)
    assert "narrowest networks that may be built take 96% of the dense latency" in found.sentences[0]
    assert "launch-bound: the nodes compute for 40% of the time" in text
    assert "batch 2 takes only 1.05 times as long as batch 1" in text
    assert "a larger --batch-size, where the application allows it; another engine" in text
    assert "removing whole blocks" in text


def test_a_network_whose_time_is_elsewhere_is_told_so_and_no_batch_is_recommended() -> None:
    nodes = (node("a", 1e5), node("pinned", 8.5e5))
    bench = PlantedBench(start=0, work=1e6, nodes=nodes)
    found = diagnose(bench, of_width(1.0), narrow(0.95), prunable={"a"}, settings=FEW)  # type: ignore[arg-type]
    assert found is not None
    text = " ".join(found.sentences)
    assert "only 11% of the computing time is in layers that may be narrowed" in text
    assert "tailor inspect" in text
    assert "launch-bound" not in text
    assert "batch" not in text


def test_what_an_engine_does_not_tell_is_not_invented() -> None:
    bench = PlantedBench(start=0, work=1e6, nodes=None, largest=1)
    found = diagnose(bench, of_width(1.0), narrow(0.97), prunable={"a"}, settings=FEW)  # type: ignore[arg-type]
    assert found is not None
    assert (found.busy, found.prunable, found.doubled) == (None, None, None)
    assert found.sentences[1] == "its layers' latency does not depend on their widths here: they are on flat treads"


def test_cuda_graphs_are_proposed_to_eager_torch_on_cuda_only() -> None:
    def said(target: Target) -> str:
        return diagnosis_of(
            target, dense=DENSE, narrowest=span(0.97), busy=0.3, prunable=0.9, doubled=None
        ).sentences[-1]

    assert "cuda-graph" in said(Target(device="cuda"))
    assert "cuda-graph" not in said(Target())
    assert "cuda-graph" not in said(Target(engine="cuda-graph", device="cuda"))


def test_a_budget_below_the_narrowest_network_can_be_explained_too() -> None:
    bench = PlantedBench(start=7e5, work=3e5)
    found = diagnose(bench, of_width(1.0), narrow(0.2), prunable=(), settings=FEW, above=0.6)  # type: ignore[arg-type]
    assert found is not None
    assert found.sentences[0].startswith("narrower layers gain no more on this target: even")


def test_a_real_network_beside_itself_is_flat() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    subject = network_subject("net", model, torch.zeros(1, 3, 16, 16), 1)
    found = diagnose(open_device(Target()), subject, {"narrow": subject}, prunable={"0"}, settings=FEW, above=0.0)
    assert found is not None
    assert found.busy is not None
    assert found.prunable is not None
    assert 0 < found.prunable < 1
