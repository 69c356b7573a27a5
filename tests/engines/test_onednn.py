"""oneDNN tells which primitives run, and which are compiled for that; nothing of it reaches the user's output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tailor import primitive_cache
from tailor.engines import open_device
from tailor.engines.onednn import asked_about, compiled_anew, onednn_lines
from tailor.primitive_cache import ENOUGH, VARIABLE
from tailor.protocols import Subject
from tailor.spec import Target

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


def test_onednn_tells_the_primitive_that_ran(capfd: pytest.CaptureFixture[str]) -> None:
    layer = nn.Conv2d(64, 64, 3, padding=1).eval()
    with torch.inference_mode():
        assert "convolution" in onednn_lines(lambda: layer(torch.zeros(1, 64, 24, 24)))
        assert "convolution" not in onednn_lines(lambda: None)
    assert "onednn_verbose" not in capfd.readouterr().out


def test_a_shape_is_compiled_once_as_long_as_it_is_kept() -> None:
    layer, image = nn.Conv2d(24, 40, 3).eval(), torch.zeros(2, 24, 19, 23)
    with torch.inference_mode():
        assert compiled_anew(lambda: layer(image)) > 0
        assert compiled_anew(lambda: layer(image)) == 0


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of Intel GPUs, that torch has none
def test_calls_are_asked_about_where_onednn_computes_and_may_keep_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "16")
    layer, image, cpu = nn.Conv2d(24, 40, 3).eval(), torch.zeros(2, 24, 17, 29), torch.device("cpu")
    asked = asked_about(lambda: layer(image), cpu)
    assert asked is not None
    with torch.inference_mode():
        assert asked() > 0
    assert asked_about(lambda: None, torch.device("cuda", 0)) is None
    with torch.backends.mkldnn.flags(enabled=False):
        assert asked_about(lambda: None, cpu) is None
    monkeypatch.setenv(VARIABLE, str(ENOUGH))
    monkeypatch.setattr(primitive_cache, "_TORCH_WAS_FIRST", False)
    assert asked_about(lambda: None, cpu) is None


@pytest.mark.parametrize("engine", ["torch", "torch-compile"])
def test_both_engines_that_compute_with_it_can_be_asked(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "16")
    device = open_device(Target(engine=engine))
    with device.opened():
        ready = device.prepared(Subject(key="a", module=nn.Linear(8, 4).eval(), inputs=(torch.ones(2, 8),)))
    assert ready.compiled is not None
