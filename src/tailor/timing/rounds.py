"""One session: shuffled rounds of all subjects, warm-up by test, until they are known well enough."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tailor.errors import MeasurementError
from tailor.records import TimingSettings
from tailor.timing.intervals import relative_half_width

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SAMPLING", "Rounds", "describe_failure", "drift_of", "sample_cost", "sample_rounds"]

_WARMUP_PATIENCE = 5  # a session that is still drifting after this many warm-up times starts all the same, and says so

_MOST_PRIMES = 12  # untimed calls before a sample: later ones change nothing more (benchmarks/settling.py)
# How samples are taken: part of every environment, since samples taken in another way are no measurement of the same.
SAMPLING = f"single calls on a CPU, settled by up to {_MOST_PRIMES} calls"
_RETAKES = 12  # times that a sample is taken again when another process had the core meanwhile
_RETAKEN_NS = 20_000_000  # longer samples than a few time slices are interrupted on every busy machine, always
_STOLEN_SHARE, _STOLEN_NS = 0.02, 20_000  # what may be missing of the processor's time: timer interrupts, clock reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Samples of one session in ns per call: entry i of every subject comes from the same shuffled round.

    `places` are their positions in the order of that round.
    `stopped` is "precise", "rounds", "time", "protocol" or, when no subject survived, "failed"; `failures` maps the
    subjects that raised to what they said; `steady` is False when the warm-up test never passed; `retaken` counts
    the samples taken again because another process had the core meanwhile.
    """

    samples: Mapping[str, tuple[int, ...]]
    places: Mapping[str, tuple[int, ...]]
    stopped: str
    failures: Mapping[str, str]
    warmup_rounds: int
    warmup_seconds: float
    steady: bool
    retaken: int


def sample_rounds(
    calls: Mapping[str, Callable[[], object]],
    settings: TimingSettings,
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
    sync: Callable[[], None] | None = None,
    recover: tuple[type[Exception], ...] = (),
    busy: Callable[[], int] | None = None,
) -> Rounds:
    """Time all calls in shuffled rounds until the stopping rule of the settings is met.

    `clock` reads nanoseconds; `sync` waits until asynchronous work is done and is called before each clock reading.
    A call that raises one of `recover` leaves the session with its message; the others go on. `busy` reads the
    nanoseconds of processor time that calls on one thread have used: a sample during which the core was given to
    another process is not the subject's latency and is taken again, a few times at most.

    Raises:
        MeasurementError: there is nothing to time.
    """
    if not calls:
        raise MeasurementError("nothing to time: the session has no subjects", value=())
    session = _Session(
        calls=dict(calls),
        settings=settings,
        clock=clock,
        launches=sync is not None,
        sync=sync or _no_sync,
        recover=recover,
        busy=busy,
    )
    with _no_garbage_collection():
        start = clock()
        warmup_rounds, steady = session.warm_up()
        warmup_seconds = (clock() - start) / 1e9
        stopped = session.sample()
    return Rounds(
        samples={name: tuple(values) for name, values in session.samples.items()},
        places={name: tuple(session.places[name]) for name in session.samples},
        stopped=stopped,
        failures=dict(session.failures),
        warmup_rounds=warmup_rounds,
        warmup_seconds=warmup_seconds,
        steady=steady,
        retaken=session.retaken,
    )


@dataclass(slots=True, kw_only=True)
class _Session:
    """The state of one timing session."""

    calls: dict[str, Callable[[], object]]
    settings: TimingSettings
    clock: Callable[[], int]
    launches: bool
    sync: Callable[[], None]
    recover: tuple[type[Exception], ...]
    busy: Callable[[], int] | None
    retaken: int = 0
    samples: dict[str, list[int]] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    shortest: dict[str, int] = field(default_factory=dict)
    shuffler: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.shuffler = random.Random(self.settings.seed)

    def warm_up(self) -> tuple[int, bool]:
        """Run untimed rounds until their totals stop drifting; returns how many, and whether they did."""
        settings = self.settings
        if settings.fixed_warmup is not None:
            for _ in range(settings.fixed_warmup):
                self._round(single=True)
            return settings.fixed_warmup, True
        self._round(single=True)  # the first call allocates and compiles: it says nothing about the later ones
        if settings.warmup_seconds <= 0:
            return 1, True
        totals: list[int] = []
        start = self.clock()
        while self.calls:
            totals.append(max(1, sum(self._round(single=True).values())))
            elapsed = (self.clock() - start) / 1e9
            window = totals[len(totals) // 2 :] if len(totals) >= 8 else totals
            steady = len(window) >= 2 and _is_steady(window, settings.half_width)
            if elapsed >= settings.warmup_seconds and steady:
                return 1 + len(totals), True
            if elapsed >= _WARMUP_PATIENCE * settings.warmup_seconds:
                return 1 + len(totals), steady
        return 1 + len(totals), False

    def sample(self) -> str:
        """Collect rounds until the stopping rule speaks; returns why."""
        self.samples, self.places = {name: [] for name in self.calls}, {name: [] for name in self.calls}
        start = self.clock()
        while self.calls:
            for place, (name, ns) in enumerate(self._round(single=False).items()):
                self.samples[name].append(ns)
                self.places[name].append(place)
            reason = self._stop_reason((self.clock() - start) / 1e9)
            if reason is not None:
                break
        self.samples = {name: values for name, values in self.samples.items() if name in self.calls}
        return reason if self.calls and reason is not None else "failed"

    def _round(self, *, single: bool) -> dict[str, int]:
        names = list(self.calls)
        self.shuffler.shuffle(names)
        timed: dict[str, int] = {}
        for name in names:
            try:
                timed[name] = self._time(name, single=single)
            except self.recover as error:
                self.failures[name] = describe_failure(error)
                del self.calls[name]
        return timed

    def _time(self, name: str, *, single: bool) -> int:
        """Nanoseconds of one call, or per call of as many as fill the sample time where calls only launch work."""
        call, settings = self.calls[name], self.settings
        expected = self.shortest.get(name)
        count = 1
        if not single and expected is not None:
            count = _calls(expected, settings, launches=self.launches)
            for _ in range(_primes(expected, settings)):
                call()  # the subjects before this one emptied the caches; steady-state latency is what is meant
        elapsed, stolen = self._take(call, count)
        for _ in range(0 if single else _RETAKES):
            if stolen <= _STOLEN_SHARE * elapsed + _STOLEN_NS or elapsed - stolen > _RETAKEN_NS:
                break
            self.retaken += 1
            again, stolen_again = self._take(call, count)
            if stolen_again < stolen:
                elapsed, stolen = again, stolen_again
        ns = max(1, round(elapsed / count))
        self.shortest[name] = min(ns, self.shortest.get(name, ns))
        return ns

    def _take(self, call: Callable[[], object], count: int) -> tuple[int, int]:
        """Nanoseconds that `count` calls took, and how many of these the core worked for somebody else."""
        self.sync()
        used = self.busy() if self.busy is not None else 0
        start = self.clock()
        for _ in range(count):
            call()
        self.sync()
        elapsed = self.clock() - start
        return elapsed, elapsed - (self.busy() - used) if self.busy is not None else 0

    def _stop_reason(self, elapsed: float) -> str | None:
        settings = self.settings
        rounds = min((len(self.samples[name]) for name in self.calls), default=0)
        if rounds >= settings.max_rounds:
            return "rounds" if settings.fixed_warmup is None else "protocol"
        if elapsed >= settings.max_seconds:
            return "time"
        if rounds < settings.min_rounds or settings.half_width <= 0:
            return None
        samples = [self.samples[name] for name in self.calls]
        judged = _centred(samples) if settings.paired else samples
        precise = all(relative_half_width(values) <= settings.half_width for values in judged)
        return "precise" if precise else None


def sample_cost(ns: float, settings: TimingSettings, *, launches: bool) -> float:
    """Nanoseconds that one sample of a call of `ns` takes, the untimed calls before it included.

    `launches` says that calls only launch work, as on a GPU.
    """
    return (_primes(ns, settings) + _calls(ns, settings, launches=launches)) * ns


def describe_failure(error: Exception) -> str:
    """What went wrong, in one line: the error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def drift_of(samples: Mapping[str, Sequence[int]]) -> float:
    """How much slower the session became: the second half's latency over the first half's, less 1.

    The latency of a round is the geometric mean over its subjects, that of a half the median of its rounds; fewer than
    four rounds say nothing and give 0.
    """
    logs = [statistics.fmean(map(math.log, row)) for row in zip(*samples.values(), strict=True)]
    half = len(logs) // 2
    if half < 2:
        return 0.0
    return math.exp(statistics.median(logs[-half:]) - statistics.median(logs[:half])) - 1


def _primes(ns: float, settings: TimingSettings) -> int:
    """How many untimed calls come before a sample."""
    return min(_MOST_PRIMES, int(settings.prime_seconds * 1e9 / ns))


def _calls(ns: float, settings: TimingSettings, *, launches: bool) -> int:
    """How many calls one sample times back to back."""
    return max(1, math.ceil(settings.sample_seconds * 1e9 / ns)) if launches else 1


def _no_sync() -> None:
    """Synchronous engines have nothing to wait for."""


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector out of the samples, as timeit does."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_steady(totals: Sequence[int], half_width: float) -> bool:
    """Whether the second half's median equals the first half's, within the wanted width or the noise."""
    half = len(totals) // 2
    first, second = totals[:half], totals[half:]
    centre = statistics.median(totals)
    spread = statistics.median(abs(value - statistics.median(part)) for part in (first, second) for value in part)
    noise = 2 * 1.4826 * spread / centre / math.sqrt(half)
    return abs(statistics.median(second) / statistics.median(first) - 1) <= max(half_width, noise)


def _centred(samples: Sequence[Sequence[int]]) -> list[list[float]]:
    """Each subject's samples over the geometric mean of their round."""
    centres = [math.exp(statistics.fmean(map(math.log, row))) for row in zip(*samples, strict=True)]
    return [[ns / centre for ns, centre in zip(row, centres, strict=True)] for row in samples]
