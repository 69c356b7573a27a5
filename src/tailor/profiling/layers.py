"""Times lone layers: equal shapes once, sessions tied together by a yardstick, answers kept in the database."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import psutil

from tailor.database import Database
from tailor.engines.subjects import layer_key, layer_subject
from tailor.errors import MeasurementError
from tailor.protocols import Device
from tailor.records import Environment, Measurement, TimingSettings
from tailor.spec import LayerShape
from tailor.timing import quickest_interval

__all__ = ["LayerTimer", "LoneTime"]

Progress = Callable[[str, int, int], None]

# The clock may drift between sessions: each one times this layer too, and is scaled by it. It depends on no model, so
# that sessions of other runs, found in the database, can be compared as well.
_YARDSTICK = LayerShape(
    kind="conv", in_channels=64, out_channels=64, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1),
    spatial=(14, 14),
)
_MOST_SUBJECTS = 64  # interleaved in one session; more would only spread a stair's points over a longer time
_MEMORY_SHARE = 8  # a session's layers may fill one part in so many of the memory that is free
_ROUNDS = (4, 12)  # fewest and most rounds per layer


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneTime:
    """What a lone layer took: ns per call, in the first session's clock, and its relative standard error."""

    ns: int
    noise: float


@dataclass(slots=True, kw_only=True)
class LayerTimer:
    """Answers how long lone layers take, from memory, from the database, or by timing them."""

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
    _reference: LoneTime | None = None

    def learn(self, shapes: Sequence[LayerShape], *, seconds: float, ns_per_mac: float) -> None:
        """Make `times` know every shape that can be run, spending about so many seconds on those not yet known.

        `ns_per_mac` is the guess that rounds are planned with. Shapes that fail are listed in `failures`.

        Raises:
            MeasurementError: the yardstick itself cannot be timed, so nothing can be.
        """
        unknown = [shape for shape in dict.fromkeys(shapes) if shape not in self.times and shape not in self.failures]
        unknown = self._recall(unknown)
        blocks = _blocks(unknown, self.batch_size)
        expected = sum(self._expected_ns(shape, ns_per_mac) for shape in [*unknown, *([_YARDSTICK] * len(blocks))])
        rounds = min(max(round(seconds * 1e9 / max(1.0, expected)), _ROUNDS[0]), _ROUNDS[1])
        done = 0
        for block in blocks:
            self._time(block, replace(self.settings, min_rounds=rounds, max_rounds=rounds, seed=self.seed))
            done += len(block)
            self.progress("layers", done, len(unknown))

    def known(self, shapes: Sequence[LayerShape]) -> float:
        """The share (0 to 1) of these layers that the database knows from this environment; of none, all."""
        keys = [*dict.fromkeys(layer_key(shape) for shape in shapes)]
        return len(self.database.find(self.environment.key, keys)) / len(keys) if keys else 1.0

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

    def _expected_ns(self, shape: LayerShape, ns_per_mac: float) -> float:
        """A guess at what one round of this layer costs, untimed call and overhead included."""
        return 2 * max(shape.macs * self.batch_size * ns_per_mac, self.settings.sample_seconds * 1e9) + 50_000

    def _recall(self, shapes: Sequence[LayerShape]) -> list[LayerShape]:
        """Take what the database knows in sessions that had a yardstick; returns what is still unknown."""
        known = self.database.find(self.environment.key, [layer_key(shape) for shape in shapes])
        unknown = []
        yardsticks: dict[str, Measurement | None] = {}
        for shape in shapes:
            measurement = known.get(layer_key(shape))
            if measurement is None:
                unknown.append(shape)
                continue
            session = measurement.session
            if session not in yardsticks:
                yardsticks[session] = self.database.of_session(session).get(layer_key(_YARDSTICK))
            yardstick = yardsticks[session]
            if yardstick is None:
                unknown.append(shape)
            else:
                self.times[shape] = self._scaled(measurement, yardstick)
                self.found += 1
        return unknown

    def _time(self, shapes: Sequence[LayerShape], settings: TimingSettings) -> None:
        wanted = [_YARDSTICK, *(shape for shape in shapes if shape != _YARDSTICK)]
        subjects = [layer_subject(shape, self.batch_size, seed=self.seed) for shape in wanted]
        measurements = self.device.measure(subjects, settings)
        self.database.add(self.environment, measurements)
        yardstick = measurements[0]
        if yardstick.failure is not None:
            raise MeasurementError(f"no layer can be timed here: {yardstick.failure}", value=yardstick.failure)
        by_shape = dict(zip(wanted, measurements, strict=True))
        for shape in shapes:
            measurement = by_shape[shape]
            if measurement.failure is not None:
                self.failures[shape] = measurement.failure
            else:
                self.times[shape] = self._scaled(measurement, yardstick)
                self.measured += 1

    def _scaled(self, measurement: Measurement, yardstick: Measurement) -> LoneTime:
        """The time in the first session's clock; a difference of yardsticks within their noise is no drift."""
        own, stick = _lone_time(measurement), _lone_time(yardstick)
        if self._reference is None:
            self._reference = stick
        drift = stick.ns / self._reference.ns
        if abs(drift - 1) <= 3 * math.hypot(stick.noise, self._reference.noise):
            return own
        return LoneTime(ns=round(own.ns / drift), noise=math.hypot(own.noise, stick.noise))


def _lone_time(measurement: Measurement) -> LoneTime:
    interval = quickest_interval(measurement.samples_ns)
    return LoneTime(ns=round(interval.value), noise=(interval.high - interval.low) / (2 * 1.96) / interval.value)


def _blocks(shapes: Sequence[LayerShape], batch_size: int) -> list[list[LayerShape]]:
    """Cut a list of layers into sessions that fit into memory, in order: a stair's points stay together."""
    limit = psutil.virtual_memory().available / _MEMORY_SHARE
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


def _bytes(shape: LayerShape, batch_size: int) -> int:
    """Memory of a layer's weights and input, twice: the original and the device's copy."""
    weights = shape.in_channels // max(1, shape.groups) * shape.out_channels * math.prod(shape.kernel)
    return 2 * 4 * (weights + batch_size * shape.in_channels * math.prod(shape.spatial))
