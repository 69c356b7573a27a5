"""A CUDA graph needs CUDA, says so, and replays what eager torch computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tailor.engines import open_device
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.protocols import Subject
from tailor.records import TimingSettings
from tailor.spec import Target

FEW = TimingSettings(
    min_rounds=5, max_rounds=5, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0
)
TARGET = Target(engine="cuda-graph", device="cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_the_cpu_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidOptionError, match="cuda-graph runs on CUDA devices, not 'cpu'; give --device cuda"):
        open_device(Target(engine="cuda-graph"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_a_measurement_error() -> None:
    with pytest.raises(MeasurementError, match="sees no CUDA device"):
        open_device(TARGET)


class Waits(nn.Module):
    """Looks at a value in the middle, which cannot be recorded."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.sum().item()


@needs_cuda
def test_graphs_of_one_pool_give_torchs_outputs_in_any_order() -> None:
    x = torch.randn(4, 3, 16, 16)
    nets = [nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 5, 3)) for width in (8, 64, 16)]
    device = open_device(TARGET)
    with device.opened():
        ready = [device.prepared(Subject(key=str(i), module=net, inputs=(x,))) for i, net in enumerate(nets)]
        first = [prepared.outputs()[0] for prepared in ready]
        for index in (2, 0, 1):
            assert torch.equal(ready[index].outputs()[0], first[index])


@needs_cuda
def test_what_cannot_be_recorded_is_a_failure_and_the_others_go_on() -> None:
    x = torch.ones(4, 8)
    good, bad, after = open_device(TARGET).measure(
        [
            Subject(key="good", module=nn.Linear(8, 8), inputs=(x,)), Subject(key="bad", module=Waits(), inputs=(x,)),
            Subject(key="after", module=nn.Linear(8, 8), inputs=(x,)),
        ],
        FEW,
    )
    assert (good.failure, after.failure) == (None, None)
    assert bad.failure is not None
