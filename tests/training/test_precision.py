"""Precisions resolve to what the hardware has, and unknown ones are refused."""

import pytest
import torch

from tailor.errors import InvalidOptionError
from tailor.training import precision as module
from tailor.training.precision import autocast, resolve_precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_exactly_where_it_is_native(monkeypatch, native, expected):
    monkeypatch.setattr(module, "_cpu_has_bf16", lambda: native)
    assert resolve_precision("auto", "cpu") == expected
    assert resolve_precision("fp32", "cpu") == "fp32"
    assert resolve_precision("bf16", "cpu") == "bf16"


@pytest.mark.parametrize(
    ("line", "expected"),
    [("flags\t\t: fpu avx512_bf16 sse", True), ("Features : fp asimd bf16", True), ("flags : avx2", False)],
)
def test_the_cpus_flags_are_read(monkeypatch, tmp_path, line, expected):
    (tmp_path / "cpuinfo").write_text(f"model name : avx512_bf16 lookalike\n{line}\n")
    monkeypatch.setattr(module, "Path", lambda name: tmp_path / "cpuinfo")
    assert module._cpu_has_bf16.__wrapped__() is expected


def test_an_unknown_precision_is_refused():
    with pytest.raises(InvalidOptionError, match="'fp8' is not one of auto, fp32, bf16"):
        resolve_precision("fp8", "cpu")


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_computes_in_the_precision(precision, dtype):
    with autocast(precision, "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
