"""The torch engine times copies, leaves everything as found, and turns what breaks into values."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn

from tailor.engines import open_device
from tailor.engines.host import available_cores
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.primitive_cache import may_be_few
from tailor.protocols import Subject
from tailor.records import TimingSettings
from tailor.spec import Target
from tailor.timing import ratio_interval

FEW = TimingSettings(
    min_rounds=5, max_rounds=5, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0
)


class Spy(nn.Module):
    """Remembers the conditions it was called under, in a place that copies share."""

    def __init__(self, seen: list[dict[str, object]]) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.seen = _Shared(seen)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.log.append(
            {
                "threads": torch.get_num_threads(), "inference": torch.is_inference_mode_enabled(),
                "training": self.training, "dtype": x.dtype, "shape": tuple(x.shape),
                "channels_last": x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last),
            }
        )
        torch.rand(1)  # moves the global random state
        return x.add_(1)  # writes into its input


class _Shared:
    """Survives deepcopy as the same object."""

    def __init__(self, log: list[dict[str, object]]) -> None:
        self.log = log

    def __deepcopy__(self, memo: dict[int, object]) -> _Shared:
        return self


class Breaks(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


class BreaksLater(nn.Module):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 3:
            raise RuntimeError("out of memory: tried 3 GiB\nsecond line")
        return x


def subject(module: nn.Module, key: str = "a", *inputs: object) -> Subject:
    return Subject(key=key, module=module, inputs=inputs or (torch.zeros(2, 8),))


def test_models_inputs_and_torchs_state_are_left_as_found() -> None:
    seen: list[dict[str, object]] = []
    module, x = Spy(seen).train(), torch.zeros(2, 8)
    weights = module.linear.weight.clone()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    open_device(Target(threads=available_cores())).measure([subject(module, "a", x)], FEW)
    assert len(seen) == 6 + may_be_few()  # the last one asks oneDNN what it kept
    assert all(call["threads"] == available_cores() for call in seen)
    assert all(call["inference"] for call in seen)
    assert not any(call["training"] for call in seen)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert module.training
    assert torch.equal(x, torch.zeros(2, 8))
    assert torch.equal(module.linear.weight, weights)
    assert module.linear.weight.requires_grad


def test_the_state_is_put_back_when_a_session_is_interrupted() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        open_device(Target(threads=available_cores())).measure([subject(Breaks(KeyboardInterrupt()))], FEW)  # type: ignore[arg-type]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_precision_and_layout_of_the_target_are_what_runs() -> None:
    seen: list[dict[str, object]] = []
    x = torch.zeros(2, 8, 4, 4)
    open_device(Target(precision="bf16", layout="channels_last")).measure([subject(Spy(seen), "a", x)], FEW)
    *timed, reference = sorted(seen, key=lambda call: call["dtype"] is torch.float32)  # its outputs are compared with
    assert reference["dtype"] is torch.float32
    assert {call["dtype"] for call in timed} == {torch.bfloat16}
    assert all(call["channels_last"] for call in timed)


def test_a_session_gives_aligned_samples_in_the_order_of_the_subjects() -> None:
    device = open_device(Target())
    measurements = device.measure([subject(nn.Linear(8, 8), key) for key in "ba"], FEW)
    assert [m.subject for m in measurements] == ["b", "a"]
    assert {len(m.samples_ns) for m in measurements} == {5}
    assert len({m.session for m in measurements}) == 1
    assert {m.environment for m in measurements} == {device.environment().key}
    assert {m.stopped for m in measurements} == {"rounds"}
    again = device.measure([subject(nn.Linear(8, 8))], FEW)
    assert again[0].session != measurements[0].session


def test_ten_thousand_times_the_work_takes_longer() -> None:
    """The one assertion on real time: what is timed is the module, not nothing."""
    big, small = nn.Linear(2000, 2000), nn.Linear(20, 20)
    measurements = open_device(Target()).measure(
        [subject(big, "big", torch.zeros(4, 2000)), subject(small, "small", torch.zeros(4, 20))], FEW
    )
    assert ratio_interval(measurements[0].samples_ns, measurements[1].samples_ns).value > 1


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory\nmore"), ValueError("bad"), TypeError("x"), MemoryError(), KeyError("k")]
)
def test_a_subject_that_raises_is_a_value_and_the_others_go_on(error: Exception) -> None:
    good, bad = open_device(Target()).measure([subject(nn.Linear(8, 8), "good"), subject(Breaks(error), "bad")], FEW)
    assert good.failure is None
    assert len(good.samples_ns) == 5
    assert bad.failure is not None
    assert bad.failure.startswith(type(error).__name__)
    assert "\n" not in bad.failure
    assert (bad.samples_ns, bad.stopped) == ((), "failed")


def test_failing_in_the_middle_or_at_the_copy_is_a_failure_too() -> None:
    class Uncopyable(nn.Linear):
        def __deepcopy__(self, memo: dict[int, object]) -> nn.Module:
            raise TypeError("cannot copy")

    good, late, never = open_device(Target()).measure(
        [subject(nn.Linear(8, 8), "good"), subject(BreaksLater(), "late"), subject(Uncopyable(8, 8), "never")], FEW
    )
    assert len(good.samples_ns) == 5
    assert late.failure == "RuntimeError: out of memory: tried 3 GiB"
    assert never.failure == "TypeError: cannot copy"
    alone = open_device(Target()).measure([subject(Uncopyable(8, 8))], FEW)
    assert alone[0].stopped == "failed"


def test_equal_keys_in_one_session_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="distinct keys"):
        open_device(Target()).measure([subject(nn.Linear(8, 8)), subject(nn.Linear(8, 8))], FEW)


def test_every_field_of_the_target_is_part_of_the_environment() -> None:
    base = Target()
    others = {
        "batch_size": 2, "threads": 2, "precision": "bf16", "layout": "channels_last",
    }
    keys = {open_device(base).environment().key}
    for name, value in others.items():
        if name != "threads" or available_cores() > 1:
            keys.add(open_device(replace(base, **{name: value})).environment().key)
    assert len(keys) == len(others) + 1 - (available_cores() == 1)
    facts = open_device(base).environment().facts
    assert {field.name for field in fields(Target)} <= set(facts)
    assert facts["torch"] == str(torch.__version__)
    assert all(type(value) is str for value in facts.values())


@pytest.mark.parametrize(
    ("name", "value"), [("precision", "int3"), ("layout", "spiral"), ("device", "toaster"), ("device", "mps")]
)
def test_options_that_torch_does_not_know_are_named(name: str, value: str) -> None:
    with pytest.raises(InvalidOptionError, match=value) as caught:
        open_device(replace(Target(), **{name: value}))
    assert caught.value.value == value


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_a_measurement_error() -> None:
    with pytest.raises(MeasurementError, match=r"device cuda.*use --device cpu"):
        open_device(Target(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_timed_to_the_end_of_its_work() -> None:
    device = open_device(Target(device="cuda"))
    big = subject(nn.Linear(8192, 8192), "big", torch.zeros(4096, 8192))
    small = subject(nn.Linear(8, 8), "small")
    measurements = device.measure([big, small], FEW)
    assert ratio_interval(measurements[0].samples_ns, measurements[1].samples_ns).value > 1
    assert {"gpu", "driver", "cudnn"} <= set(device.environment().facts)
    with pytest.raises(MeasurementError, match="CUDA devices"):
        open_device(Target(device="cuda:99"))
