"""A bench lets no other network's time through, and keeps engines of one session from disturbing each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.engines import open_device
from tailor.engines.bench import Bench, Entry, time_together
from tailor.engines.host import available_cores
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.protocols import Accountant, Subject
from tailor.records import NodeTime, TimingSettings
from tailor.spec import Target
from tailor.timing import SAMPLING

FEW = TimingSettings(
    min_rounds=5, max_rounds=5, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0
)


class Planted:
    """A Runtime that bends what a module computes, and logs its sessions."""

    recover = SUBJECT_ERRORS

    def __init__(self, bend: Callable[[Tensor], Tensor], target: Target) -> None:
        self.bend, self.target = bend, target
        self.log: list[str] = []

    def facts(self) -> Mapping[str, str]:
        return {"planted": "yes"}

    @contextmanager
    def session(self) -> Iterator[None]:
        self.log.append("open")
        try:
            yield
        finally:
            self.log.append("closed")

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        def run() -> list[Tensor]:
            return [self.bend(tensor) for tensor in output_tensors(module(*inputs))]

        return Prepared(call=run, outputs=run)

    def sync(self) -> None: ...


def planted(bend: Callable[[Tensor], Tensor], **changes: Any) -> Bench:
    return Bench(Planted(bend, replace(Target(engine="planted"), **changes)))


def subject(key: str = "a") -> Subject:
    return Subject(key=key, module=nn.Linear(8, 4).eval(), inputs=(torch.ones(2, 8),))


@pytest.mark.parametrize(
    ("bend", "complaint"),
    [
        (lambda y: y * 1.01, "differs from torch's by 0.01"),
        (lambda y: y[:, :3], r"shapes are \[\(2, 3\)\], torch's are \[\(2, 4\)\]"),
        (lambda y: y * float("nan"), "not finite"),
        (torch.zeros_like, "differs from torch's by 1 "),
    ],
)
def test_an_engine_that_computes_something_else_is_refused(bend: Callable[[Tensor], Tensor], complaint: str) -> None:
    (measured,) = planted(bend).measure([subject()], FEW)
    assert measured.samples_ns == ()
    assert measured.failure is not None
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(measured.failure)
    with pytest.raises(MeasurementError, match="not the same network on planted"):
        planted(bend).node_times(subject(), 1)


def test_engines_of_one_session_have_aligned_samples_and_a_failing_one_stops_nobody() -> None:
    good, bad, torch_bench = planted(lambda y: y), planted(lambda y: y + 1), open_device(Target())
    assert isinstance(good.runtime, Planted)
    a, wrong, b = time_together(
        [Entry(bench=bench, subject=subject()) for bench in (good, bad, torch_bench)], FEW
    )
    assert (len(a.samples_ns), len(wrong.samples_ns), len(b.samples_ns)) == (5, 0, 5)
    assert len({a.session, wrong.session, b.session}) == 1
    assert a.environment != b.environment
    assert wrong.failure is not None
    assert good.runtime.log == ["open", "closed"]


@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_engines_with_different_threads_do_not_share_a_session() -> None:
    benches = planted(lambda y: y), planted(lambda y: y, threads=2)
    with pytest.raises(InvalidOptionError, match=r"one number of threads, not \[1, 2\]"):
        time_together([Entry(bench=bench, subject=subject()) for bench in benches], FEW)


def test_tf32_allowed_and_forbidden_do_not_share_a_session() -> None:
    benches = [planted(lambda y: y, device="cuda", precision=name) for name in ("fp32", "tf32")]
    with pytest.raises(InvalidOptionError, match="either allows TF32 or forbids it"):
        time_together([Entry(bench=bench, subject=subject()) for bench in benches], FEW)


def test_an_engine_that_does_not_tell_its_nodes_says_so() -> None:
    with pytest.raises(MeasurementError, match="planted does not tell"):
        planted(lambda y: y).node_times(subject(), 1)


def test_eager_torch_names_its_modules_and_their_work() -> None:
    module = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten())
    x = torch.randn(1, 3, 32, 32)
    nodes = open_device(Target()).node_times(Subject(key="net", module=module, inputs=(x,)), 3)
    assert [(node.layer, node.kind) for node in nodes] == [
        ("0", "Conv2d"), ("1", "ReLU"), ("2", "Conv2d"), ("3", "Flatten"),
    ]
    assert all(node.ns > 0 for node in nodes)
    assert not any(part._forward_hooks for part in module.modules())


class Compiling(Planted):
    """Compiles for a network all that it has forgotten since, and remembers which network it was asked about."""

    forgotten = 0

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        def compiled() -> int:
            self.log.append(f"asked about {inputs[0].shape[0]}")
            return self.forgotten

        return replace(super().prepare(module, inputs), compiled=compiled)


@pytest.mark.parametrize("seed", range(4))
def test_who_ran_longest_ago_tells_whether_kernels_are_kept(seed: int, recwarn: pytest.WarningsRecorder) -> None:
    runtime = Compiling(lambda y: y, Target(engine="planted"))
    subjects = [
        Subject(key=str(rows), module=nn.Linear(8, 4).eval(), inputs=(torch.ones(rows, 8),)) for rows in range(1, 6)
    ]
    measured = Bench(runtime).measure(subjects, replace(FEW, seed=seed))
    (first,) = [each.subject for each in measured if each.places[-1] == 0]
    assert runtime.log == ["open", f"asked about {first}", "closed"]
    assert not recwarn.list
    runtime.forgotten = 3
    with pytest.warns(RuntimeWarning, match="compiled 3 of them anew"):
        Bench(runtime).measure(subjects, FEW)


class Telling(Planted):
    """Tells one node per network, and remembers how many calls it was given and whether its session was open."""

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        def layers(calls: int) -> tuple[NodeTime, ...]:
            self.log.append(f"{calls} calls")
            return (NodeTime(name="node", layer="", kind="planted", kernel="", ns=float(module.out_features)),)

        return replace(super().prepare(module, inputs), layers=layers)


def test_an_account_is_the_measurement_and_the_nodes_of_each_network_that_ran() -> None:
    wide = Subject(key="wide", module=nn.Linear(8, 6).eval(), inputs=(torch.ones(2, 8),))
    broken = Subject(key="broken", module=nn.Linear(9, 4).eval(), inputs=(torch.ones(2, 8),))
    bench = Bench(Telling(lambda y: y, Target(engine="planted")))
    assert isinstance(bench, Accountant)
    measurements, accounts = bench.account([subject("a"), broken, wide], FEW, 1.0)
    assert [m.subject for m in measurements] == ["a", "broken", "wide"]
    assert [m.failure is None for m in measurements] == [True, False, True]
    assert {key: [node.ns for node in nodes] for key, nodes in accounts.items()} == {"a": [4.0], "wide": [6.0]}
    assert bench.runtime.log == ["open", "30 calls", "30 calls", "closed"]  # type: ignore[attr-defined]


def test_an_account_takes_at_least_three_calls_however_little_time_there_is() -> None:
    bench = Bench(Telling(lambda y: y, Target(engine="planted")))
    bench.account([subject()], FEW, 0.0)
    assert "3 calls" in bench.runtime.log  # type: ignore[attr-defined]


def test_an_engine_that_does_not_tell_gives_measurements_without_accounts() -> None:
    measurements, accounts = planted(lambda y: y).account([subject()], FEW, 1.0)
    assert measurements[0].failure is None
    assert accounts == {}
    with pytest.raises(InvalidOptionError, match="distinct keys"):
        planted(lambda y: y).account([subject(), subject()], FEW, 1.0)


def test_torch_accounts_for_the_layers_of_every_network_of_a_session() -> None:
    subjects = [subject("a"), Subject(key="two", module=nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)).eval(),
                                      inputs=(torch.ones(2, 8),))]
    _, accounts = open_device(Target()).account(subjects, FEW, 0.001)
    assert {node.layer for node in accounts["two"]} >= {"0", "1"}
    assert all(node.ns >= 0 for nodes in accounts.values() for node in nodes)


def test_how_samples_are_taken_is_part_of_the_environment() -> None:
    """A database must not hand out samples that an earlier way of sampling took."""
    assert open_device(Target()).environment().facts["sampling"] == SAMPLING
