"""What a call takes while nothing disturbs it: the mean of its quickest samples.

Other machines on the same host slow a call down for seconds or minutes, small networks not by as much as large ones,
and hardly ever make it faster. So the median of the rounds, and the median of paired ratios too, tells what the
neighbours did meanwhile; the quickest quarter of the samples tells it hardly (see benchmarks/quiet.py). Fewer still
would do better on one thread, but with several a call is now and then lucky: its threads happen to be awake.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["quiet_values"]

_SHARE = 1 / 4  # of the samples: their mean is the quiet level


def quiet_values(samples: Sequence[float]) -> list[float]:
    """One value for every sample, in their order, whose mean is the mean of the quickest quarter (one at least).

    With q the quickest sample that no longer counts and f the share of those that do, x becomes q + min(x - q, 0) / f.
    These are the pseudo-values of the lower-tail mean: their standard error is its own to first order, and values of
    two subjects from the same rounds pair.
    """
    ordered = sorted(samples)
    count = max(1, round(_SHARE * len(ordered)))
    edge = ordered[min(count, len(ordered) - 1)]
    return [edge + min(sample - edge, 0.0) * len(ordered) / count for sample in samples]
