"""What samples say: medians, means and paired ratios with their 95 % intervals, and what may be claimed of them."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from tailor.errors import MeasurementError
from tailor.records import Interval, TimingSettings

__all__ = [
    "aa_resolution",
    "claimable_step",
    "mean_interval",
    "median_interval",
    "ratio_interval",
    "relative_half_width",
    "summary_interval",
]


@functools.lru_cache(maxsize=4096)
def _order_statistic(count: int) -> int:
    """The largest k for which the k-th smallest to k-th largest sample covers the median with 95 %, at least 1.

    P(X < k) <= 0.025 for X binomial(count, 1/2): 12 samples give the 3rd to 10th, 100 the 40th to 61st.
    """
    total, k = 0, 0
    while 40 * (total + math.comb(count, k)) <= 2**count:
        total += math.comb(count, k)
        k += 1
    return max(1, k)


def median_interval(samples: Sequence[float]) -> Interval:
    """The median with its distribution-free 95 % interval between order statistics, in the samples' unit.

    Fewer than 6 samples cannot give 95 %: their whole range is returned.
    """
    ordered = sorted(samples)
    k = _order_statistic(len(ordered))
    return Interval(value=float(statistics.median(ordered)), low=float(ordered[k - 1]), high=float(ordered[-k]))


def mean_interval(samples: Sequence[float]) -> Interval:
    """The mean with its 95 % interval by the central limit theorem, in the samples' unit (LACP reports means)."""
    mean = statistics.fmean(samples)
    spread = statistics.stdev(samples) if len(samples) > 1 else 0.0
    half = statistics.NormalDist().inv_cdf(0.975) * spread / math.sqrt(len(samples))
    return Interval(value=mean, low=mean - half, high=mean + half)


def summary_interval(samples: Sequence[float], settings: TimingSettings) -> Interval:
    """The statistic that the settings ask for, with its 95 % interval."""
    return mean_interval(samples) if settings.statistic == "mean" else median_interval(samples)


def ratio_interval(numerator: Sequence[int], denominator: Sequence[int]) -> Interval:
    """How many times slower the numerator is: the median of the per-round ratios with its 95 % interval.

    Both must come from the same rounds. The statistic is taken on log-ratios, so that a / b and b / a agree.

    Raises:
        MeasurementError: the two have unequal or no rounds.
    """
    if len(numerator) != len(denominator) or not numerator:
        counts = (len(numerator), len(denominator))
        raise MeasurementError(f"paired ratios need the same rounds, not {counts[0]} and {counts[1]}", value=counts)
    logs = median_interval([math.log(a / b) for a, b in zip(numerator, denominator, strict=True)])
    return Interval(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high))


def aa_resolution(samples_a: Sequence[int], samples_b: Sequence[int]) -> float:
    """The relative difference that two copies of one network show: offset plus half-width of their paired ratio."""
    ratio = ratio_interval(samples_a, samples_b)
    return abs(ratio.value - 1) + (ratio.high - ratio.low) / 2


def claimable_step(resolution: float) -> float:
    """The smallest relative step or win that may be claimed: three times the A/A resolution, never below 1 %."""
    return max(3 * resolution, 0.01)


def relative_half_width(samples: Sequence[float]) -> float:
    """Half of the median's 95 % interval, over the median."""
    interval = median_interval(samples)
    return (interval.high - interval.low) / 2 / interval.value
