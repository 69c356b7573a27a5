"""Times lone layers: equal shapes once, sessions tied together by layers timed again, answers kept in the database."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psutil

from tailor.database import Database
from tailor.engines.subjects import layer_key, layer_subject
from tailor.errors import MeasurementError
from tailor.profiling.ties import Reading, tie_sessions
from tailor.protocols import Device
from tailor.records import Environment, Measurement, TimingSettings
from tailor.spec import LayerShape
from tailor.timing import SHARES, counted, quickest_interval, sample_cost

__all__ = ["LayerTimer", "LoneTime"]

Progress = Callable[[str, int, int], None]

# Times every session, so that sessions of other runs, found in the database, can be compared as well.
_YARDSTICK = LayerShape(
    kind="conv", in_channels=64, out_channels=64, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1),
    spatial=(14, 14),
)
_TIES, _TIE_SECONDS = 8, 2.0  # layers timed again in a session, and the most that making them ready may take
_RECALLED = 8  # sessions that a layer is recalled from at most
_MOST_SUBJECTS = 64  # interleaved in one session; more would only spread a stair's points over a longer time
_MEMORY_SHARE = 8  # a session's layers may fill one part in so many of the memory that is free
_ROUNDS = (4, 36)  # fewest and most rounds per layer; on a busy host 36 err by 0.6 of what 12 do
_SHORTEST_NS = 20_000  # what calling the smallest layer takes
# Usual levels count where quiet ones repeat no closer than this, and usual ones by this share closer.
_APART, _CLOSER = 0.01, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneTime:
    """What a lone layer took: ns per call, in the largest session's clock, and its relative standard error."""

    ns: int
    noise: float


@dataclass(slots=True, kw_only=True)
class LayerTimer:
    """Answers how long lone layers take, from memory, from the database, or by timing them.

    The host is in another state in every session. So each one times the yardstick and some layers that are known, and
    a layer's time is its level beside the states of all sessions (see `tie_sessions`). `statistic` is what levels are
    of (see tailor.timing.SHARES): quiet, or usual where layers timed again, and samples, tell that these repeat better.
    """

    device: Device
    environment: Environment
    database: Database
    batch_size: int
    settings: TimingSettings
    seed: int
    progress: Progress
    times: dict[LayerShape, LoneTime] = field(default_factory=dict)
    failures: dict[LayerShape, str] = field(default_factory=dict)
    measured: int = 0
    found: int = 0
    statistic: str = "quiet"
    _readings: dict[str, dict[str, dict[LayerShape, Reading]]] = field(
        default_factory=lambda: {statistic: {} for statistic in SHARES}
    )
    _ready: float = 0.0  # seconds that the last session took to make one layer ready

    def learn(self, shapes: Sequence[LayerShape], *, seconds: float, ns_per_mac: float) -> None:
        """Make `times` know every shape that can be run, spending about so many seconds on those not yet known.

        `ns_per_mac` is the guess that rounds are planned with. Shapes that fail are listed in `failures`.

        Raises:
            MeasurementError: the yardstick itself cannot be timed, so nothing can be.
        """
        unknown = [shape for shape in dict.fromkeys(shapes) if shape not in self.times and shape not in self.failures]
        unknown = self._recall(unknown)
        blocks = _blocks(unknown, self.batch_size)
        beside = [_YARDSTICK] * len(blocks) * (1 + (_TIES if self.times else 0))
        rounds = _rounds(seconds, self._one_round([*unknown, *beside], ns_per_mac))
        done = 0
        for block in blocks:
            ties = self._ties(block)
            self._time([*block, *ties], replace(self.settings, min_rounds=rounds, max_rounds=rounds, seed=self.seed))
            done += len(block)
            self.progress("layers", done, len(unknown))

    def known(self, shapes: Sequence[LayerShape]) -> float:
        """The share (0 to 1) of these layers that the database knows from this environment; of none, all."""
        keys = [*dict.fromkeys(layer_key(shape) for shape in shapes)]
        return len(self.database.find(self.environment.key, keys)) / len(keys) if keys else 1.0

    def expected(self, shapes: Sequence[LayerShape], *, seconds: float, ns_per_mac: float) -> float:
        """Seconds that running these layers takes when about so many are allowed: there is a fewest of rounds."""
        one_round = self._one_round([*dict.fromkeys(shapes)], ns_per_mac)
        return _rounds(seconds, one_round) * one_round

    def cost(self) -> float:
        """Seconds that one lone layer takes to be made ready and run a few times: the yardstick, timed now.

        Raises:
            MeasurementError: the yardstick cannot be timed, so nothing can be.
        """
        layer_subject(_YARDSTICK, self.batch_size, seed=self.seed)  # what PyTorch imports on first use is paid once
        started = time.perf_counter()
        low = _ROUNDS[0]
        self._time([], replace(self.settings, min_rounds=low, max_rounds=low, warmup_seconds=0.0))
        return time.perf_counter() - started

    def _one_round(self, shapes: Sequence[LayerShape], ns_per_mac: float) -> float:
        """A guess at the seconds that one round of these layers takes, untimed calls included."""
        launches = self.environment.facts["device"].startswith("cuda")
        calls = (max(_SHORTEST_NS, shape.macs * self.batch_size * ns_per_mac) for shape in shapes)
        return sum(sample_cost(ns, self.settings, launches=launches) for ns in calls) / 1e9

    def _recall(self, shapes: Sequence[LayerShape]) -> list[LayerShape]:
        """Take what the database knows in sessions that had a yardstick; returns what is still unknown.

        Of a layer that many sessions know, the latest count: a database may hold those of years.
        """
        keys = {layer_key(shape): shape for shape in shapes}
        known = self.database.find_all(self.environment.key, [*keys])
        told = self._readings[self.statistic]
        every = [(found.session, keys[key]) for key, latest in known.items() for found in latest[-_RECALLED:]]
        more = dict.fromkeys(name for name, shape in every if shape not in told.get(name, ()))
        for name in more:
            session = self.database.of_session(name)
            if layer_key(_YARDSTICK) in session:
                self._read(name, {**{layer_key(shape): shape for shape in self.times}, **keys}, session)
        if more:
            self._settle()
        unknown = [shape for shape in shapes if shape not in self.times]
        self.found += len(shapes) - len(unknown)
        return unknown

    def _ties(self, block: Sequence[LayerShape]) -> list[LayerShape]:
        """Some layers that are known, from the quickest to the slowest, to be timed again; none that is very large."""
        count = _TIES if self._ready * _TIES <= _TIE_SECONDS else int(_TIE_SECONDS / self._ready)
        room = _room() / _TIES  # together they fill no more than the session may
        known = [
            shape
            for shape in self.times
            if shape != _YARDSTICK and shape not in block and _bytes(shape, self.batch_size) <= room
        ]
        known.sort(key=lambda shape: self.times[shape].ns)
        if len(known) <= count:
            return known
        return [known[len(known) * (2 * place + 1) // (2 * count)] for place in range(count)]

    def _time(self, shapes: Sequence[LayerShape], settings: TimingSettings) -> None:
        wanted = [_YARDSTICK, *(shape for shape in shapes if shape != _YARDSTICK)]
        started = time.perf_counter()
        subjects = [layer_subject(shape, self.batch_size, seed=self.seed) for shape in wanted]
        measurements = self.device.measure(subjects, settings)
        elapsed = time.perf_counter() - started
        self.database.add(self.environment, measurements)
        yardstick = measurements[0]
        if yardstick.failure is not None:
            raise MeasurementError(f"no layer can be timed here: {yardstick.failure}", value=yardstick.failure)
        timed = yardstick.conditions.seconds if yardstick.conditions is not None else 0.0
        self._ready = max(0.0, elapsed - timed) / len(wanted)
        fresh = [shape for shape in shapes if shape not in self.times]
        failed = {m.subject: m.failure for m in measurements if m.failure is not None}
        self.failures |= {shape: failed[key] for shape in fresh if (key := layer_key(shape)) in failed}
        sound = {m.subject: m for m in measurements if m.failure is None}
        self._read(yardstick.session, {layer_key(shape): shape for shape in wanted}, sound)
        self._settle()
        self.measured += sum(shape in self.times for shape in fresh)

    def _read(self, name: str, shapes: Mapping[str, LayerShape], session: Mapping[str, Measurement]) -> None:
        """Keep what one session, all of which succeeded, says of these shapes and of the yardstick, by each statistic.
        """
        shapes = {layer_key(_YARDSTICK): _YARDSTICK, **shapes}
        for statistic, readings in self._readings.items():
            samples = counted(session, statistic)
            readings[name] = {shapes[key]: _reading(samples[key], statistic) for key in samples if key in shapes}

    def _settle(self) -> None:
        """Tell the times anew from all sessions, by the statistic that repeats better."""
        tied = {statistic: tie_sessions(readings) for statistic, readings in self._readings.items()}
        quiet, usual = tied["quiet"].repeats, tied["usual"].repeats
        self.statistic = "usual" if quiet > _APART and usual < (1 - _CLOSER) * quiet else "quiet"
        self.times = {shape: _lone_time(level) for shape, level in tied[self.statistic].levels.items()}


def _rounds(seconds: float, one_round: float) -> int:
    """How many rounds fit, in bounds."""
    return min(max(round(seconds / max(1e-9, one_round)), _ROUNDS[0]), _ROUNDS[1])


def _reading(samples: Sequence[int], statistic: str) -> Reading:
    interval = quickest_interval(samples, statistic)
    return Reading(log=math.log(interval.value), error=(interval.high - interval.low) / (2 * 1.96) / interval.value)


def _lone_time(level: Reading) -> LoneTime:
    return LoneTime(ns=round(math.exp(level.log)), noise=level.error)


def _blocks(shapes: Sequence[LayerShape], batch_size: int) -> list[list[LayerShape]]:
    """Cut a list of layers into sessions that fit into memory, in order: a stair's points stay together."""
    limit = _room()
    blocks: list[list[LayerShape]] = []
    filled = math.inf
    for shape in shapes:
        size = _bytes(shape, batch_size)
        if filled + size > limit or len(blocks[-1]) >= _MOST_SUBJECTS:
            blocks.append([])
            filled = 0.0
        blocks[-1].append(shape)
        filled += size
    return blocks


def _room() -> float:
    """Bytes that the layers of one session may fill."""
    return float(psutil.virtual_memory().available) / _MEMORY_SHARE


def _bytes(shape: LayerShape, batch_size: int) -> int:
    """Memory of a layer's weights and input, twice: the original and the device's copy."""
    weights = shape.in_channels // max(1, shape.groups) * shape.out_channels * math.prod(shape.kernel)
    return 2 * 4 * (weights + batch_size * shape.in_channels * math.prod(shape.spatial))
