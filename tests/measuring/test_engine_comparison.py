"""One network on every engine: fastest first, nothing that failed hidden, and advice only where it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tailor.engines import ENGINES
from tailor.engines.bench import Bench, Entry, time_together
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.errors import InvalidOptionError, MeasurementError, MissingDependencyError, UnknownNameError
from tailor.measuring import engines as engine_comparison
from tailor.measuring.engines import EngineComparison, compare_engines, targets_named
from tailor.records import Measurement, TimingSettings
from tailor.spec import Target
from tiny_net import make

FEW = TimingSettings(name="few", min_rounds=12, max_rounds=12, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0)
X = torch.zeros(1, 8)


class PlantedEngine:
    """Computes the network as torch does and takes so many nanoseconds by the planted session."""

    recover = SUBJECT_ERRORS

    def __init__(self, target: Target, turns: int, refuses: str | None, executed: str) -> None:
        self.target, self.turns, self.refuses, self.executed = target, turns, refuses, executed

    def facts(self) -> Mapping[str, str]:
        return {"executed_precision": self.executed}

    @contextmanager
    def session(self) -> Iterator[None]:
        yield

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        if self.refuses is not None:
            raise RuntimeError(self.refuses)

        def outputs() -> list[Tensor]:
            return [module(*inputs)]

        return Prepared(call=outputs, outputs=outputs)

    def sync(self) -> None:
        """Nothing runs behind our back."""


def opener(
    turns: Mapping[str, int],
    *,
    refuses: str = "",
    missing: str = "",
    executed: str = "bf16",
    faster_default: bool = False,
) -> Callable[[Target], Bench]:
    def open_device(target: Target) -> Bench:
        if target.engine == missing:
            raise MissingDependencyError(f"engine {missing} needs the package {missing}")
        reason = "operator Foo is not known\nat all" if target.engine == refuses else None
        shorter = 10 if faster_default and target.precision == "auto" else 1
        return Bench(PlantedEngine(target, turns[target.engine] // shorter, reason, executed))

    return open_device


def planted_session(entries: Sequence[Entry], settings: TimingSettings) -> list[Measurement]:
    """What the real session finds, with the planted times in the place of the clock's."""
    return [
        measurement if measurement.failure is not None
        else replace(measurement, samples_ns=(entry.bench.runtime.turns,) * 12)  # type: ignore[attr-defined]
        for entry, measurement in zip(entries, time_together(entries, settings), strict=True)
    ]


def compared(
    monkeypatch: pytest.MonkeyPatch, open_device: Callable[[Target], Bench], engines: str, **like: Any
) -> EngineComparison:
    monkeypatch.setattr(engine_comparison, "open_device", open_device)
    monkeypatch.setattr(engine_comparison, "time_together", planted_session)
    return compare_engines(nn.Linear(8, 8), X, targets_named(engines, Target(**like)), settings=FEW)


TURNS = {"torch": 40_000, "onnxruntime": 10_000, "openvino": 4_000, "onnxruntime-tensorrt": 1_000}


def test_the_fastest_is_first_and_ratios_are_to_eager_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, opener(TURNS), "onnxruntime,torch,openvino")
    assert [row.target.engine for row in found.timings] == ["openvino", "onnxruntime", "torch"]
    assert found.reference == Target()
    fastest, _, torch_row = found.timings
    assert torch_row.ratio is None
    assert fastest.ratio is not None
    assert fastest.ratio.value == pytest.approx(0.1)
    assert len(fastest.samples_ns) == 3
    assert "the engine matters more than a cut here: openvino runs the uncut network in" in found.advice[0]


def test_one_that_fails_and_one_that_is_missing_do_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(
        monkeypatch, opener(TURNS, refuses="onnxruntime", missing="onnxruntime-tensorrt"), ",".join(TURNS)
    )
    assert [row.target.engine for row in found.timings] == ["openvino", "torch"]
    assert {each.target.engine: each.reason for each in found.not_run} == {
        "onnxruntime-tensorrt": "engine onnxruntime-tensorrt needs the package onnxruntime-tensorrt",
        "onnxruntime": "RuntimeError: operator Foo is not known",
    }


def test_without_torch_the_slowest_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, opener(TURNS), "openvino,onnxruntime")
    assert found.reference.engine == "onnxruntime"
    assert compared(monkeypatch, opener(TURNS), "openvino", precision="auto").advice == ()


def test_engines_that_are_alike_bring_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = {"torch": 40_000, "onnxruntime": 32_000}
    found = compared(monkeypatch, opener(alike), "torch,onnxruntime")
    assert found.timings[0].target.engine == "onnxruntime"
    assert found.advice == ()


def test_an_engine_s_own_default_is_told_apart_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_comparison, "ENGINES", ("torch", "openvino"))
    found = compared(monkeypatch, opener(TURNS, executed="bf16"), "all")
    assert sorted((row.target.engine, row.precision) for row in found.timings) == [
        ("openvino", "bf16"), ("openvino", "fp32"), ("torch", "fp32"),
    ]  # fmt: skip
    assert any("openvino (auto) computes in bf16, torch in fp32" in text for text in found.advice)
    monkeypatch.setitem(TURNS, "openvino", 39_000)
    bf16 = compared(monkeypatch, opener(TURNS, faster_default=True), "all")
    assert bf16.timings[0].precision == "bf16"
    assert not any("matters more than a cut" in text for text in bf16.advice)  # a number format is no faster engine
    found = compared(monkeypatch, opener(TURNS, executed="f32"), "all")
    assert [each.reason for each in found.not_run] == ["its default here is fp32, which is already in the table"]


def test_nothing_that_runs_is_an_error_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeasurementError, match=r"openvino: engine openvino needs.*torch: RuntimeError: operator Foo"):
        compared(monkeypatch, opener(TURNS, refuses="torch", missing="openvino"), "torch,openvino")
    with pytest.raises(MeasurementError, match="none of the engines: openvino"):
        compared(monkeypatch, opener(TURNS, missing="openvino"), "openvino")


def test_all_names_every_engine_and_the_layout_only_where_it_is_the_users() -> None:
    targets = targets_named("all", Target(layout="channels_last", batch_size=4))
    assert {target.engine for target in targets} == set(ENGINES)
    layouts = {target.engine: target.layout for target in targets}
    assert layouts["torch"] == "channels_last"
    assert layouts["openvino"] == layouts["onnxruntime"] == "contiguous"
    assert [t.precision for t in targets if t.engine == "openvino"] == ["fp32", "auto"]
    assert all(target.batch_size == 4 for target in targets)
    assert [t.precision for t in targets_named("all", Target(precision="int8")) if t.engine == "openvino"] == ["int8"]
    assert [t.engine for t in targets_named("openvino, torch,openvino", Target())] == ["openvino", "torch"]
    with pytest.raises(InvalidOptionError, match="empty name"):
        targets_named("torch,,openvino", Target())


def test_an_unknown_name_among_known_ones_is_refused_before_anything_is_timed() -> None:
    with pytest.raises(UnknownNameError, match="abacus"):
        targets_named("torch,abacus", Target())


def test_real_engines_agree_on_a_real_network() -> None:
    targets = targets_named("torch,onnxruntime,openvino", Target())
    found = compare_engines(make(), torch.randn(1, 3, 32, 32), targets, settings=FEW, instances=2)
    assert [each.reason for each in found.not_run if "pip install" not in each.reason] == []
    assert [row.latency.value for row in found.timings] == sorted(row.latency.value for row in found.timings)
    assert found.conditions is not None
