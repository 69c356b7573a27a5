"""Subjects are compiled whole, each for itself; whatever would run eager code instead is a failure.

The networks are chains of linear layers: torch calls a library for these, and no C++ compiler has to run.
"""

from __future__ import annotations

import copy
import gc
import weakref
from dataclasses import replace

import pytest
import torch
import torch._dynamo.config
import torch._inductor.config
from torch import Tensor, nn
from torch._dynamo.utils import counters

from tailor.engines import open_device, torch_compile
from tailor.engines.torch_compile import TorchCompile
from tailor.errors import InvalidOptionError, MissingDependencyError
from tailor.protocols import Subject
from tailor.records import TimingSettings
from tailor.spec import Target

FEW = TimingSettings(
    min_rounds=5, max_rounds=5, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0
)
TARGET = Target(engine="torch-compile")


class Breaks(nn.Module):
    """Asks for a value in the middle, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum().item() > 0 else x - 1


class Counts(nn.Module):
    """Computes something else at each call, so that each call compiles anew."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x @ x.T if self.calls % 2 else x.T @ x


def linear(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(8, width), nn.Linear(width, 8))


def subject(module: nn.Module, key: str = "a") -> Subject:
    return Subject(key=key, module=module, inputs=(torch.ones(8, 8),))


def test_many_subjects_of_one_class_are_each_compiled_once_and_freed() -> None:
    """More than dynamo is told to allow for one code object (by default 8); then it would run eager code."""
    counters.clear()
    alive: list[weakref.ref[object]] = []
    device = open_device(TARGET)
    with device.opened(), torch._dynamo.config.patch(recompile_limit=2):
        prepared = [device.prepared(subject(linear(width), str(width))) for width in range(4, 8)]
        for ready in prepared:
            ready.call()
            alive.append(weakref.ref(ready.call.func))  # type: ignore[attr-defined]
    assert counters["stats"]["unique_graphs"] == len(prepared)
    prepared.clear()
    del ready
    gc.collect()
    assert not any(reference() for reference in alive)


def test_weights_are_frozen_and_the_original_is_left_alone() -> None:
    module = linear()
    before = copy.deepcopy(module.state_dict())
    device = open_device(TARGET)
    freezing, threads = torch._inductor.config.freezing, torch.get_num_threads()
    with device.opened():
        assert torch._inductor.config.freezing
        ready = device.prepared(subject(module))
        first = ready.outputs()[0].clone()
        module[0].weight.data.zero_()  # type: ignore[union-attr, operator]
        assert torch.equal(ready.outputs()[0], first)
    assert torch._inductor.config.freezing == freezing
    assert torch.get_num_threads() == threads
    assert torch.equal(module[1].weight, before["1.weight"])


def test_a_graph_break_and_compiling_anew_are_failures_and_the_others_go_on() -> None:
    broken, twice, good = open_device(TARGET).measure(
        [subject(Breaks(), "broken"), subject(Counts(), "twice"), subject(linear(), "good")], FEW
    )
    assert broken.failure is not None
    assert "torch.compile cannot take the network whole" in broken.failure
    assert twice.failure is not None
    assert twice.failure.startswith("RecompileError")
    assert good.failure is None
    assert len(good.samples_ns) == 5


def test_eager_code_behind_a_disabled_compiler_is_refused() -> None:
    with torch.compiler.set_stance("force_eager"):
        (measured,) = open_device(TARGET).measure([subject(linear())], FEW)
    assert measured.failure is not None
    assert "0 graphs" in measured.failure


def test_bf16_is_what_runs() -> None:
    device = open_device(replace(TARGET, precision="bf16"))
    with device.opened():
        assert device.prepared(subject(linear())).outputs()[0].dtype is torch.bfloat16


def test_the_environment_names_compiler_and_freezing() -> None:
    facts = open_device(TARGET).environment().facts
    assert "frozen weights" in facts["compiled_by"]
    assert facts["compiler"]
    assert facts["triton"] == "not used"


def test_without_a_compiler_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_compile.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"torch-compile needs a C\+\+ compiler.*CXX"):
        TorchCompile(TARGET)


@pytest.mark.parametrize(("name", "value"), [("precision", "int8"), ("precision", "tf32"), ("layout", "spiral")])
def test_options_it_does_not_know_are_named(name: str, value: str) -> None:
    with pytest.raises(InvalidOptionError, match=value):
        open_device(replace(TARGET, **{name: value}))
