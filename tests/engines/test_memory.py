"""A batch that cannot fit is refused before it is run, with the numbers; one that can is not looked at."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tailor.engines import bench, open_device
from tailor.engines.memory import available_bytes, check_memory, tensor_bytes
from tailor.engines.subjects import batched
from tailor.errors import MeasurementError
from tailor.protocols import Subject
from tailor.records import TimingSettings
from tailor.spec import Target

FEW = TimingSettings(
    min_rounds=5, max_rounds=5, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0
)
# [batch, 1, 8, 8] floats: 256 bytes a sample; the convolution makes 16 * 256 of them, beside the 256 it reads.
WIDE = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.AdaptiveAvgPool2d(1))
NEEDED = 100 * (256 + 16 * 256)


class Refuses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("two samples at least")


def test_the_largest_layer_decides() -> None:
    x = torch.zeros(100, 1, 8, 8)
    check_memory(WIDE, (x,), available=lambda: NEEDED)
    with pytest.raises(MemoryError, match=r"batch 100 needs at least 0\.0 GB .* give a smaller batch"):
        check_memory(WIDE, (x,), available=lambda: NEEDED - 1)


def test_small_inputs_and_models_that_refuse_one_sample_are_let_through() -> None:
    check_memory(Refuses(), (torch.zeros(100, 8),), available=lambda: 0)
    calls: list[int] = []
    counting = nn.Linear(8, 8)
    counting.register_forward_hook(lambda *_: calls.append(1))
    check_memory(counting, (torch.zeros(1, 8),), available=lambda: 10**9)
    assert calls == []


def test_a_batch_that_does_not_fit_is_a_failure_of_its_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is planted: without the check, real need would end the process that runs the tests."""
    monkeypatch.setattr(bench, "check_memory", partial(check_memory, available=lambda: NEEDED - 1))
    good, bad = open_device(Target()).measure(
        [Subject(key=str(size), module=WIDE, inputs=(torch.zeros(size, 1, 8, 8),)) for size in (1, 100)], FEW
    )
    assert good.failure is None
    assert bad.failure is not None
    assert bad.failure.startswith("MemoryError: batch 100 needs at least")


def test_inputs_that_do_not_fit_are_refused_before_they_are_made() -> None:
    with pytest.raises(MeasurementError, match=r"batch 1000000000000 .* smaller --batch-size"):
        batched((torch.zeros(1, 3, 8, 8),), 10**12)


def test_a_control_groups_limit_counts(tmp_path: Path) -> None:
    free = available_bytes(tmp_path)
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert abs(available_bytes(tmp_path) - free) < 0.5 * free
    (tmp_path / "memory.max").write_text("1000\n")
    assert available_bytes(tmp_path) == 600


def test_bytes_are_counted_in_what_values_hold() -> None:
    assert tensor_bytes([torch.zeros(2, 3), (torch.zeros(4, dtype=torch.int8), 5), {"a": torch.zeros(1)}]) == 32
