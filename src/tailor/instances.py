"""Compares two networks by several fresh instances of each, because instances of one network differ.

Where an instance's memory lies is a random effect of its own: up to several percent, and not averaged away by more
rounds. So the unit of the statistic is the instance, not the sample:

    x = mean of the quickest quarter of log samples                  one number per instance: its quiet level
    log ratio = mean x of the one network - mean x of the other     in every session; the mean over sessions
    s^2 = sum of squares of x about its network's mean / freedom    pooled over networks and sessions
    interval = log ratio +- t(0.975, freedom) * s * sqrt(sum over sessions of (1/m + 1/n)) / sessions

with m and n instances and (m - 1) + (n - 1) degrees of freedom in each session: Student's interval for two groups of
equal variance, blocked by session. Other statistics take another share of the samples, or their median, for x. Noise
of the rounds is part of s; the paired interval of the rounds is a floor, so that three instances which happen to agree
claim nothing that the rounds do not support.

A shared host is in one state for minutes, which moves all ratios of a session and no round of it shows: `across_states`
widens an interval by what another time would find.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from scipy.special import stdtrit

from tailor.errors import MeasurementError
from tailor.records import Interval
from tailor.timing import SHARES, aa_resolution, mean_interval, median_interval, quickest_interval, quickest_values

__all__ = ["InstanceComparison", "Instances", "Session", "across_states", "compare_instances", "instances_latency"]

Instances: TypeAlias = Sequence[Sequence[int]]  # samples in ns of each instance, shape [instances, rounds]
Session: TypeAlias = tuple[Instances, Instances]  # both networks' instances, timed in the same shuffled rounds
_Rows: TypeAlias = Sequence[Sequence[float]]  # one value of each instance and round, shape [instances, rounds]

_NORMAL = 1.96  # standard errors in half a 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statistic:
    """How an instance's log samples become one number: the `centre` of what `values` makes of them.

    `interval` is that of the rounds, from one value for each of them; `summary` is an instance's latency from its
    samples, in their unit.
    """

    values: Callable[[Sequence[float]], Sequence[float]]
    centre: Callable[[Sequence[float]], float]
    interval: Callable[[Sequence[float]], Interval]
    summary: Callable[[Sequence[float]], float]


def _quickest(name: str, share: float) -> _Statistic:
    return _Statistic(
        values=lambda samples: quickest_values(samples, share),
        centre=statistics.fmean,
        interval=mean_interval,
        summary=lambda samples: quickest_interval(samples, name).value,
    )


_STATISTICS = {
    **{name: _quickest(name, share) for name, share in SHARES.items()},
    "median": _Statistic(
        values=tuple, centre=statistics.median, interval=median_interval, summary=statistics.median
    ),
    "mean": _Statistic(values=tuple, centre=statistics.fmean, interval=median_interval, summary=statistics.fmean),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceComparison:
    """What instances of two networks say, with 95 % intervals that include how instances differ.

    `ratio` is the first network's latency over the second's; `first` and `second` are latencies in ns; `spread` the
    relative standard deviation of instances of one network; `resolution` what two copies typically differ by (the
    median A/A resolution over all pairs of instances of one network).
    """

    ratio: Interval
    first: Interval
    second: Interval
    spread: float
    resolution: float


def compare_instances(
    sessions: Sequence[Session], *, statistic: str = "quiet", peers: Sequence[Instances] = ()
) -> InstanceComparison:
    """Hold two networks against each other over all sessions; `statistic` summarises an instance's rounds.

    `peers` are instances of further networks on the same engine: how these differ adds degrees of freedom.

    Raises:
        MeasurementError: no session, unequal rounds in a session, or fewer than two instances of a network.
    """
    for session in sessions:
        _require_pairs(session)
    if not sessions:
        raise MeasurementError("no session to compare instances in", value=0)
    how = _STATISTICS[statistic]
    rows = [(_rows(first, how), _rows(second, how)) for first, second in sessions]
    levels = [_levels(both, how) for both in rows]
    known = [_group_levels(own, own, how.centre) for own in (_rows(group, how) for group in peers)]
    spread, freedom = _pooled([*(group for session in levels for group in session), *known])
    log_ratio = statistics.fmean(statistics.fmean(a) - statistics.fmean(b) for a, b in levels)
    error = spread * math.sqrt(sum(1 / len(a) + 1 / len(b) for a, b in levels)) / len(levels)
    half = float(stdtrit(freedom, 0.975)) * error
    rounds = how.interval([value for both in rows for value in _paired(both)])
    timed = zip(sessions, rows, strict=True)
    first, second = zip(*(zip(session, both, strict=True) for session, both in timed), strict=True)
    return InstanceComparison(
        ratio=_exponential(log_ratio, max(half, rounds.high - log_ratio, 0), max(half, log_ratio - rounds.low, 0)),
        first=_latency(first, how, spread, freedom),
        second=_latency(second, how, spread, freedom),
        spread=spread,
        resolution=_resolution([group for session in sessions for group in session], statistic),
    )


def across_states(interval: Interval, host_noise: float, sessions: int) -> Interval:
    """The interval from so many sessions with what the host's state added to each of them, the value as it was.

    `host_noise` is the standard deviation of log ratios between sessions; both errors are independent, so that squares
    of half widths add up, in logarithms.
    """
    state = _NORMAL * host_noise / math.sqrt(sessions)
    value = math.log(interval.value)
    above, below = (math.hypot(end - value, state) for end in (math.log(interval.high), math.log(interval.low)))
    return _exponential(value, above, below) if host_noise else interval


def instances_latency(instances: Instances, *, statistic: str = "quiet") -> tuple[Interval, float]:
    """Latency in ns of a network by its instances of one session, with its interval, and its A/A resolution.

    Raises:
        MeasurementError: fewer than two instances, or unequal rounds.
    """
    _require_pairs((instances, instances))
    how = _STATISTICS[statistic]
    rows = _rows(instances, how)
    spread, freedom = _pooled([_group_levels(rows, rows, how.centre)])
    return _latency([(instances, rows)], how, spread, freedom), _resolution([instances], statistic)


def _require_pairs(session: Session) -> None:
    counts = sorted({len(samples) for group in session for samples in group})
    if len(counts) != 1 or counts[0] == 0:
        raise MeasurementError(f"instances of one session need the same rounds, not {counts}", value=counts)
    fewest = min(len(group) for group in session)
    if fewest < 2:
        message = f"{fewest} instance says nothing about how instances differ; give 2 or more"
        raise MeasurementError(message, value=fewest)


def _rows(group: Instances, how: _Statistic) -> _Rows:
    """For every instance, one value a round."""
    return [how.values([math.log(ns) for ns in samples]) for samples in group]


def _levels(both: tuple[_Rows, _Rows], how: _Statistic) -> tuple[list[float], list[float]]:
    """Each instance's level in a session, of the first network and of the second."""
    first, second = both
    everything = [*first, *second]
    return _group_levels(first, everything, how.centre), _group_levels(second, everything, how.centre)


def _group_levels(group: _Rows, everything: _Rows, centre: Callable[[Sequence[float]], float]) -> list[float]:
    """Each instance's level about the centre of its rounds."""
    middles = [statistics.fmean(row) for row in zip(*everything, strict=True)]
    return [centre([value - middle for value, middle in zip(row, middles, strict=True)]) for row in group]


def _pooled(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation about the groups' own means, and its degrees of freedom."""
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum((value - statistics.fmean(group)) ** 2 for group in groups for value in group)
    return math.sqrt(squares / freedom), freedom


def _paired(both: tuple[_Rows, _Rows]) -> list[float]:
    """Per round, the difference of the networks' mean values over their instances."""
    first, second = map(_mean_row, both)
    return [a - b for a, b in zip(first, second, strict=True)]


def _mean_row(rows: _Rows) -> list[float]:
    return [statistics.fmean(row) for row in zip(*rows, strict=True)]


def _latency(
    sessions: Sequence[tuple[Instances, _Rows]], how: _Statistic, spread: float, freedom: int
) -> Interval:
    """Geometric mean over instances of their latency; the interval is that of instances, never below the rounds'."""
    logs = [[math.log(how.summary(samples)) for samples in instances] for instances, _ in sessions]
    value = statistics.fmean(statistics.fmean(group) for group in logs)
    error = spread * math.sqrt(sum(1 / len(group) for group in logs)) / len(logs)
    half = float(stdtrit(freedom, 0.975)) * error
    rounds = how.interval([value for _, rows in sessions for value in _mean_row(rows)])
    return _exponential(value, max(half, rounds.high - value), max(half, value - rounds.low))


def _resolution(groups: Sequence[Instances], statistic: str) -> float:
    """By quiet levels also where the statistic is a median or a mean of all samples."""
    by = statistic if statistic in SHARES else "quiet"
    return statistics.median(aa_resolution(a, b, by) for group in groups for a, b in combinations(group, 2))


def _exponential(log_value: float, above: float, below: float) -> Interval:
    return Interval(value=math.exp(log_value), low=math.exp(log_value - below), high=math.exp(log_value + above))
