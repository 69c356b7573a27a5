"""What samples say: levels, medians, means and ratios with their 95 % intervals, and what may be claimed."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from tailor.errors import MeasurementError
from tailor.records import Interval, TimingSettings
from tailor.timing.quickest import SHARES, quickest_values

__all__ = [
    "aa_resolution",
    "claimable_step",
    "mean_interval",
    "median_interval",
    "quickest_interval",
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


def quickest_interval(samples: Sequence[float], statistic: str = "quiet") -> Interval:
    """The mean of the quickest samples (geometric) with its 95 % interval, in their unit; of which, see SHARES."""
    return _exponential(mean_interval(quickest_values([math.log(sample) for sample in samples], SHARES[statistic])))


def summary_interval(samples: Sequence[float], settings: TimingSettings) -> Interval:
    """The statistic that the settings ask for, with its 95 % interval."""
    if settings.statistic in SHARES:
        return quickest_interval(samples, settings.statistic)
    return {"median": median_interval, "mean": mean_interval}[settings.statistic](samples)


def ratio_interval(numerator: Sequence[int], *denominators: Sequence[int], statistic: str = "quiet") -> Interval:
    """How many times slower the numerator is, with its 95 % interval; of several denominators their geometric mean.

    All must come from the same rounds. The statistic is taken on logs, so that a / b and b / a agree: "quiet" and
    "usual" are ratios of such levels, "median" (and "mean") the median of the per-round ratios.

    Raises:
        MeasurementError: they have unequal or no rounds.
    """
    counts = [len(samples) for samples in (numerator, *denominators)]
    if len(set(counts)) != 1 or not counts[0]:
        told = " and ".join(map(str, counts))
        raise MeasurementError(f"paired ratios need the same rounds, not {told}", value=tuple(counts))
    own, *others = ([math.log(sample) for sample in samples] for samples in (numerator, *denominators))
    share = SHARES.get(statistic)
    if share is not None:
        own, *others = (quickest_values(logs, share) for logs in (own, *others))
    pairs = [a - statistics.fmean(row) for a, *row in zip(own, *others, strict=True)]
    return _exponential(median_interval(pairs) if share is None else mean_interval(pairs))


def _exponential(logs: Interval) -> Interval:
    return Interval(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high))


def aa_resolution(samples_a: Sequence[int], samples_b: Sequence[int], statistic: str = "quiet") -> float:
    """The relative difference that two copies of one network show: offset plus half-width of their paired ratio."""
    ratio = ratio_interval(samples_a, samples_b, statistic=statistic)
    return abs(ratio.value - 1) + (ratio.high - ratio.low) / 2


def claimable_step(resolution: float) -> float:
    """The smallest relative step or win that may be claimed: three times the A/A resolution, never below 1 %."""
    return max(3 * resolution, 0.01)


def relative_half_width(samples: Sequence[float]) -> float:
    """Half of the median's 95 % interval, over the median."""
    interval = median_interval(samples)
    return (interval.high - interval.low) / 2 / interval.value
