"""Times the dense network beside a copy of itself: the latency that all others are told as ratios to."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.profiling.networks import NetworkTimer
from tailor.records import Environment, Interval, TimingSettings
from tailor.timing import SHARES, aa_resolution, quickest_interval, summary_interval

__all__ = ["DenseTime", "time_dense"]

_ATTEMPTS, _QUIET = 3, 0.02  # sessions at most, and the resolution that needs no other
_SECONDS = 20.0  # the profile wants the dense latency, not a publishable one: verification measures again


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseTime:
    """The dense network's latency in ns, what two copies differed by, and the seconds to prepare one of them."""

    interval: Interval
    resolution: float
    prepare: float
    samples_ns: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def by(self, statistic: str) -> DenseTime:
        """The same session's latency by another share of its quickest samples (see tailor.timing.SHARES)."""
        first, second = self.samples_ns
        return replace(
            self, interval=quickest_interval(first, statistic), resolution=aa_resolution(first, second, statistic)
        )


def time_dense(
    timer: NetworkTimer, environment: Environment, database: Database, settings: TimingSettings
) -> DenseTime:
    """The quietest of up to three sessions: one disturbed minute would make every later step unclaimable.

    By quiet or by usual levels, whichever two copies agree in better; which of them counts is known later.
    """
    sessions = []
    for _ in range(1 if settings.fixed_warmup is not None else _ATTEMPTS):
        sessions.append(_once(timer, environment, database, settings))
        if sessions[-1].resolution <= _QUIET:
            break
    return min(sessions, key=lambda dense: dense.resolution)


def _once(
    timer: NetworkTimer, environment: Environment, database: Database, settings: TimingSettings
) -> DenseTime:
    """Time the dense network beside a copy of itself; an unlimited protocol stops once it is precise enough."""
    if settings.fixed_warmup is None:
        settings = replace(settings, max_seconds=min(settings.max_seconds, _SECONDS))
    widths = timer.graph.dense_widths
    started = time.perf_counter()
    measurements = timer.device.measure([timer.subject(widths), timer.subject(widths, copy=1)], settings)
    elapsed = time.perf_counter() - started
    for measurement in measurements:
        if measurement.failure is not None:
            raise MeasurementError(f"the dense network could not be timed: {measurement.failure}", value=measurement)
    database.add(environment, measurements)
    first, second = (measurement.samples_ns for measurement in measurements)
    timed = measurements[0].conditions.seconds if measurements[0].conditions is not None else elapsed
    found = DenseTime(
        interval=summary_interval(first, settings),
        resolution=aa_resolution(first, second),
        prepare=max(0.0, elapsed - timed) / len(measurements),
        samples_ns=(first, second),
    )
    if settings.statistic not in SHARES:
        return found
    return min((found.by(statistic) for statistic in SHARES), key=lambda dense: dense.resolution)
