"""Real engines are asked for their kernels; what oneDNN prints reaches nobody's output."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planted_device import PlantedDevice

from tailor.engines import open_device
from tailor.latency.staircase import Point, fit_staircase
from tailor.profiling.reasons import reasons
from tailor.spec import LayerShape, Target

SHAPE = LayerShape(
    kind="conv", in_channels=64, out_channels=64, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1),
    spatial=(24, 24),
)
STAIRS = fit_staircase(
    [Point(channels=c, ns=10_000 * -(-c // 16), noise=0.002) for c in (1, 16, 17, 32, 33, 48, 49, 64)], 0.004
)


def at(channels: int) -> LayerShape:
    return replace(SHAPE, out_channels=channels)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_every_step_has_a_reason_on_real_engines(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    if engine != "torch":
        pytest.importorskip(engine)
    found = reasons(open_device(Target(engine=engine)), STAIRS, "out", at)
    assert [reason.channels for reason in found] == [16, 32, 48]
    assert all(reason.sentence for reason in found)
    assert "onednn_verbose" not in capfd.readouterr().out


def test_a_device_that_is_no_engine_tells_nothing() -> None:
    assert reasons(PlantedDevice(), STAIRS, "out", at) == ()


def test_a_layer_that_does_not_run_again_is_an_unknown_reason() -> None:
    found = reasons(open_device(Target()), STAIRS, "out", lambda channels: replace(at(channels), kernel=(99, 99)))
    assert {reason.sentence.startswith("unknown: the layer did not run again") for reason in found} == {True}
