"""How far held-out predictions were off, apart for fast, middle and slow networks: small ones are told less exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailor.latency.robust import FloatArray
from tailor.records import Estimate

__all__ = ["ErrorBand", "error_bands", "estimated"]

_BANDS = 3
_COVERED = 0.9  # of unseen networks that are to lie within the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBand:
    """The 90 % quantile of the relative error on held-out networks that take up to `ns`."""

    ns: int
    q90: float


def error_bands(predicted: FloatArray, ns: FloatArray) -> tuple[ErrorBand, ...]:
    """The held-out error of a third of the networks each, by rising latency; arrays of shape [networks].

    The quantile is that of split conformal prediction, ceil(0.9 (n + 1)) of n: a plain one of few errors is too small.
    """
    bands = []
    for part in np.array_split(np.argsort(ns), _BANDS):
        errors = np.abs(predicted[part] / ns[part] - 1)
        place = min(math.ceil(_COVERED * (len(part) + 1)), len(part)) - 1
        bands.append(ErrorBand(ns=round(float(ns[part].max())), q90=float(np.sort(errors)[place])))
    return tuple(bands)


def estimated(ns: float, bands: Sequence[ErrorBand], *, extrapolated: bool) -> Estimate:
    """A prediction with the interval that its band says."""
    q90 = next((band.q90 for band in bands if ns <= band.ns), bands[-1].q90)
    return Estimate(
        ns=round(ns),
        low_ns=round(ns * (1 - q90)),
        high_ns=round(ns * (1 + q90)),
        source="extrapolated" if extrapolated else "fitted",
    )
