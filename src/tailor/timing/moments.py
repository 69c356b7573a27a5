"""What a shared host did at the moment of each call, told by the calls that were timed right before and after it.

Neighbours slow whatever runs for some hundredths of a second up to seconds, and each subject of a session meets other
moments of them. With d the log of a sample over its subject's median, and s the mean of d over the three calls before
and the three after it, whatever subjects these were of,

    log sample - b s,    b from 0 to 1: the slope of d on s in this session

is what the sample would have been at the session's usual moment: s tells of one part in two of the variance where
neighbours compute all the time, and b is about 0 where nothing lasts longer than a call (a control variate, see
Lavenberg and Welch, 1981).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tailor.records import Measurement

__all__ = ["counted", "steadied"]

FloatArray = npt.NDArray[np.float64]

_BESIDE = 3  # calls on each side
_FARTHEST = 0.4  # a sample further off than this was disturbed by itself and counts as if it were so far off


def counted(session: Mapping[str, Measurement], statistic: str) -> dict[str, tuple[int, ...]]:
    """What a statistic counts of each subject of one session, in ns, by its key in `session`.

    Usual levels (see tailor.timing.SHARES) are those of the session's usual moment; whatever else is counted, quiet
    levels with their pauses and medians with all that happened, counts the samples as they are.
    """
    samples = {key: measurement.samples_ns for key, measurement in session.items()}
    if statistic != "usual":
        return samples
    return steadied(samples, {key: measurement.places for key, measurement in session.items()})


def steadied(
    samples: Mapping[str, Sequence[int]], places: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """The samples (ns) of each subject of one session without what the host did at their moments.

    `places` are each sample's position in the order of its round. Without them, or with a single call, samples come
    back as they are.
    """
    names = [name for name, values in samples.items() if len(places.get(name, ())) == len(values) > 0]
    if len(names) < len(samples) or sum(len(samples[name]) for name in names) < 2:
        return {name: tuple(values) for name, values in samples.items()}
    logs = np.log(np.array([samples[name] for name in names], dtype=float))
    rounds = np.broadcast_to(np.arange(logs.shape[1]), logs.shape)
    order = np.lexsort((np.array([places[name] for name in names]).ravel(), rounds.ravel()))
    off = np.clip(logs - np.median(logs, axis=1, keepdims=True), -_FARTHEST, _FARTHEST).ravel()[order]
    beside = _beside(off)
    square = float(beside @ beside)
    slope = min(max(float(beside @ off) / square, 0.0), 1.0) if square > 0 else 0.0
    moments = np.empty_like(off)
    moments[order] = slope * beside
    steady = np.exp(logs - moments.reshape(logs.shape))
    return {name: tuple(max(1, round(value)) for value in row) for name, row in zip(names, steady, strict=True)}


def _beside(off: FloatArray) -> FloatArray:
    """For each entry the mean of those around it, itself left out."""
    place = np.arange(len(off))
    first, end = np.maximum(place - _BESIDE, 0), np.minimum(place + _BESIDE + 1, len(off))
    total = np.concatenate([[0.0], np.cumsum(off)])
    mean: FloatArray = (total[end] - total[first] - off) / (end - first - 1)
    return mean
