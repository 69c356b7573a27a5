"""Makes a Device of a Runtime: prepares subjects, holds their outputs against torch's, and times them side by side."""

from __future__ import annotations

import statistics
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import torch

from tailor.engines.agreement import disagreement
from tailor.engines.allocator import allocator_fact, memory_kept
from tailor.engines.conditions import conditions_between, read_counters
from tailor.engines.host import available_cores, host_facts
from tailor.engines.memory import check_memory
from tailor.engines.reference import is_reference, reference_outputs
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared, Runtime
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.primitive_cache import ENOUGH, VARIABLE
from tailor.protocols import Subject
from tailor.records import Environment, Measurement, NodeTime, TimingSettings
from tailor.spec import Target
from tailor.timing import SAMPLING, Rounds, describe_failure, sample_rounds

__all__ = ["Bench", "Entry", "check_threads", "time_together"]

_FEWEST_CALLS, _MOST_CALLS = 3, 30  # of one account: fewer say nothing about the mean, more say nothing new


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
            "sampling": SAMPLING,
        }
        return Environment(facts={**facts, **self.runtime.facts()})

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        """Time all subjects in one session, interleaved in shuffled rounds, in the order given.

        A subject that cannot be run, raises, or whose outputs are not torch's, is a Measurement with `failure`; the
        session goes on with the others.

        Raises:
            InvalidOptionError: two subjects share a key.
        """
        _check_keys(subjects)
        return time_together([Entry(bench=self, subject=subject) for subject in subjects], settings)

    def account(
        self, subjects: Sequence[Subject], settings: TimingSettings, seconds: float
    ) -> tuple[list[Measurement], dict[str, tuple[NodeTime, ...]]]:
        """Time all subjects as `measure` does, then let the engine account for the nodes of each, by subject key.

        Each account runs the network for about so many seconds. Engines that do not tell give no accounts.

        Raises:
            InvalidOptionError: two subjects share a key.
        """
        _check_keys(subjects)
        accounts: dict[str, tuple[NodeTime, ...]] = {}

        def ask(index: int, prepared: Prepared, ns: float) -> None:
            if prepared.layers is not None:
                calls = min(max(round(seconds * 1e9 / ns), _FEWEST_CALLS), _MOST_CALLS)
                with suppress(*self.runtime.recover):  # it was timed: an account that fails is only not there
                    accounts[subjects[index].key] = prepared.layers(calls)

        entries = [Entry(bench=self, subject=subject) for subject in subjects]
        return time_together(entries, settings, afterwards=ask), accounts

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
        if self.target.device == "cpu":
            check_memory(subject.module, subject.inputs)
        ready = self.runtime.prepare(subject.module, subject.inputs)
        if not is_reference(self.target):
            wrong = disagreement(ready.outputs(), reference_outputs(subject, self.target), self.target.precision)
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


def time_together(
    entries: Sequence[Entry],
    settings: TimingSettings,
    *,
    afterwards: Callable[[int, Prepared, float], None] | None = None,
) -> list[Measurement]:
    """Time subjects of one or several engines in one session of shuffled rounds, in the order given.

    Entries that fail to prepare or to run are Measurements with `failure`; the others go on. `afterwards` is called
    inside the session, for each that ran, with its position, what was prepared, and its median ns.

    Raises:
        InvalidOptionError: the engines want different numbers of threads, or TF32 both allowed and forbidden.
    """
    session = uuid.uuid4().hex
    benches = list(dict.fromkeys(entry.bench for entry in entries))
    _check_together(benches)
    environments = {bench: bench.environment().key for bench in benches}
    ready: dict[str, Prepared] = {}
    failures: dict[str, str] = {}
    names = [str(number) for number in range(len(entries))]
    with ExitStack() as stack:
        for bench in benches:
            stack.enter_context(bench.opened())
        for name, entry in zip(names, entries, strict=True):
            try:
                ready[name] = entry.bench.prepared(entry.subject)
            except entry.bench.runtime.recover as error:
                failures[name] = describe_failure(error)
        samples, places, stopped, conditions = {}, {}, "failed", None
        if ready:
            before = read_counters()
            calls = {name: prepared.call for name, prepared in ready.items()}
            rounds = sample_rounds(
                calls, settings, sync=_sync(benches), recover=_recover(benches), busy=_processor_time(benches)
            )
            samples, places, stopped = dict(rounds.samples), dict(rounds.places), rounds.stopped
            conditions = conditions_between(before, read_counters(), rounds)
            failures |= rounds.failures
            # They were timed: one that no longer runs, or has no file for what oneDNN prints, only tells nothing.
            with suppress(*_recover(benches), OSError):
                _warn_of_compiling({name: ready[name] for name in _by_age(rounds)})
        if afterwards is not None:
            for name, values in samples.items():
                afterwards(int(name), ready[name], statistics.median(values))
    return [
        Measurement(
            subject=entry.subject.key,
            environment=environments[entry.bench],
            session=session,
            samples_ns=samples.get(name, ()),
            stopped="failed" if name in failures else stopped,
            failure=failures.get(name),
            conditions=conditions,
            places=places.get(name, ()),
        )
        for name, entry in zip(names, entries, strict=True)
    ]


def _by_age(rounds: Rounds) -> list[str]:
    """Who ran through, from the one that ran longest ago."""
    return sorted(rounds.samples, key=lambda name: rounds.places[name][-1])


def _warn_of_compiling(oldest_first: Mapping[str, Prepared]) -> None:
    """Call who ran longest ago once more: what is compiled for it now was compiled again and again while timing.

    A warning of Python's, for only who imports Tailor behind torch, or chose the number, can meet it.
    """
    asked = next((each.compiled for each in oldest_first.values() if each.compiled is not None), None)
    if asked is not None and (count := asked()):
        message = (
            f"oneDNN keeps too few kernels for this session: a network that had run before compiled {count} of them "
            f"anew, so calls that were timed did too; import tailor before torch runs anything, or start with "
            f"{VARIABLE}={ENOUGH}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _check_keys(subjects: Sequence[Subject]) -> None:
    keys = [subject.key for subject in subjects]
    if len(set(keys)) != len(keys):
        raise InvalidOptionError("subjects of one session need distinct keys", value=keys)


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


def _check_together(benches: Sequence[Bench]) -> None:
    """Refuse benches that would overwrite each other's settings: torch has one number of threads and one TF32 flag."""
    threads = sorted({bench.target.threads for bench in benches if bench.target.device == "cpu"})
    if len(threads) > 1:
        raise InvalidOptionError(f"one session has one number of threads, not {threads}", value=threads)
    products = sorted({bench.target.precision for bench in benches if bench.target.device != "cpu"} & {"fp32", "tf32"})
    if len(products) > 1:
        raise InvalidOptionError("one session on a GPU either allows TF32 or forbids it", value=products)


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
