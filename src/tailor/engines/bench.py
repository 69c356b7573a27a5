"""Makes a Device of a Runtime: prepares subjects, holds their outputs against torch's, and times them side by side."""

from __future__ import annotations

import copy
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.engines.agreement import disagreement
from tailor.engines.allocator import allocator_fact, memory_kept
from tailor.engines.host import available_cores, host_facts
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared, Runtime
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.protocols import Subject
from tailor.records import Environment, Measurement, NodeTime, TimingSettings
from tailor.spec import Target
from tailor.timing import describe_failure, sample_rounds

__all__ = ["Bench", "Entry", "check_threads", "time_together"]


class Bench:
    """A Device (see protocols): the originals and torch's state stay as found."""

    def __init__(self, runtime: Runtime) -> None:
        check_threads(runtime.target)
        self.runtime = runtime

    @property
    def target(self) -> Target:
        """Where and how subjects run."""
        return self.runtime.target

    def environment(self) -> Environment:
        """Hardware, versions and settings, as they stand now; the whole target is part of it."""
        target = self.target
        facts = {
            **host_facts(),
            "engine": target.engine,
            "device": target.device,
            "batch_size": str(target.batch_size),
            "threads": str(target.threads),
            "precision": target.precision,
            "layout": target.layout,
            "torch": str(torch.__version__),
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "allocator": allocator_fact(),
        }
        return Environment(facts={**facts, **self.runtime.facts()})

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        """Time all subjects in one session, interleaved in shuffled rounds, in the order given.

        A subject that cannot be run, raises, or whose outputs are not torch's, is a Measurement with `failure`; the
        session goes on with the others.

        Raises:
            InvalidOptionError: two subjects share a key.
        """
        keys = [subject.key for subject in subjects]
        if len(set(keys)) != len(keys):
            raise InvalidOptionError("subjects of one session need distinct keys", value=keys)
        return time_together([Entry(bench=self, subject=subject) for subject in subjects], settings)

    def node_times(self, subject: Subject, calls: int) -> tuple[NodeTime, ...]:
        """What each node of the running network takes by the engine's own account, mean ns over so many calls.

        Raises:
            MeasurementError: the network does not run here, or the engine does not tell.
        """
        with self.opened():
            try:
                prepared = self.prepared(subject)
            except self.runtime.recover as error:
                raise MeasurementError(f"{subject.key} does not run: {describe_failure(error)}") from None
            if prepared.layers is None:
                raise MeasurementError(f"{self.target.engine} does not tell what the parts of a network take")
            return prepared.layers(calls)

    def prepared(self, subject: Subject) -> Prepared:
        """The subject ready to be called, its outputs held against torch's; inside `opened` only."""
        ready = self.runtime.prepare(subject.module, subject.inputs)
        if not _is_reference(self.target):
            wrong = disagreement(ready.outputs(), _reference(subject), self.target.precision)
            if wrong is not None:
                raise RuntimeError(f"not the same network on {self.target.engine}: {wrong}")
        return ready

    @contextmanager
    def opened(self) -> Iterator[None]:
        """No gradients, memory kept, the random state put back afterwards, and the engine's own session."""
        with torch.random.fork_rng(), torch.inference_mode(), memory_kept(), self.runtime.session():
            yield


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A subject and the bench it is timed on; one session may hold several benches."""

    bench: Bench
    subject: Subject


def time_together(entries: Sequence[Entry], settings: TimingSettings) -> list[Measurement]:
    """Time subjects of one or several engines in one session of shuffled rounds, in the order given.

    Entries that fail to prepare or to run are Measurements with `failure`; the others go on.
    """
    session = uuid.uuid4().hex
    benches = list(dict.fromkeys(entry.bench for entry in entries))
    environments = {bench: bench.environment().key for bench in benches}
    calls: dict[str, Callable[[], object]] = {}
    failures: dict[str, str] = {}
    names = [str(number) for number in range(len(entries))]
    with ExitStack() as stack:
        for bench in benches:
            stack.enter_context(bench.opened())
        for name, entry in zip(names, entries, strict=True):
            try:
                calls[name] = entry.bench.prepared(entry.subject).call
            except entry.bench.runtime.recover as error:
                failures[name] = describe_failure(error)
        samples, stopped = {}, "failed"
        if calls:
            rounds = sample_rounds(
                calls, settings, sync=_sync(benches), recover=_recover(benches), busy=_processor_time(benches)
            )
            samples, stopped = dict(rounds.samples), rounds.stopped
            failures |= rounds.failures
    return [
        Measurement(
            subject=entry.subject.key,
            environment=environments[entry.bench],
            session=session,
            samples_ns=samples.get(name, ()),
            stopped="failed" if name in failures else stopped,
            failure=failures.get(name),
        )
        for name, entry in zip(names, entries, strict=True)
    ]


def check_threads(target: Target) -> None:
    """Refuse more threads than there are cores.

    Raises:
        InvalidOptionError: naming both numbers.
    """
    if target.threads > available_cores():
        raise InvalidOptionError(
            f"{target.threads} threads on {available_cores()} cores would time the scheduler; "
            f"give at most {available_cores()}",
            value=target.threads,
        )


def _is_reference(target: Target) -> bool:
    """Whether the target is what the others are compared with."""
    return (target.engine, target.device, target.precision, target.layout) == ("torch", "cpu", "fp32", "contiguous")


def _reference(subject: Subject) -> list[Tensor]:
    """What torch computes in fp32 on the CPU, on copies: a model may write into its inputs or buffers."""
    module: nn.Module = copy.deepcopy(subject.module).eval().to("cpu", torch.float32)
    return output_tensors(module(*(_on_cpu(value) for value in subject.inputs)))


def _on_cpu(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    copied = value.detach().clone().cpu()
    return copied.float() if copied.is_floating_point() else copied


def _recover(benches: Sequence[Bench]) -> tuple[type[Exception], ...]:
    return tuple(dict.fromkeys([*SUBJECT_ERRORS, *(kind for bench in benches for kind in bench.runtime.recover)]))


def _sync(benches: Sequence[Bench]) -> Callable[[], None] | None:
    waiting = [bench.runtime.sync for bench in benches if bench.target.device != "cpu"]
    if not waiting:
        return None

    def sync() -> None:
        for wait in waiting:
            wait()

    return sync


def _processor_time(benches: Sequence[Bench]) -> Callable[[], int] | None:
    """The process's own time on the core; with several threads it says nothing about who waited for whom."""
    alone = all(bench.target.device == "cpu" and bench.target.threads == 1 for bench in benches)
    return time.process_time_ns if alone else None
