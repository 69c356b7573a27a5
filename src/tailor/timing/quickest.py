"""What a call takes by its quickest samples: undisturbed by neighbours, or as far as these can be left out.

Other machines on the same host slow a call down and hardly ever make it faster, small networks not by as much as large
ones. Where they do so for seconds or minutes and leave pauses, the quickest quarter of the samples tells hardly
anything of them, while the median of the rounds, and that of paired ratios too, tells what they did meanwhile. Where
they compute nearly all the time beside us, on the other half of a core, say, pauses are rare and their number is
chance: there the quickest quarter tells how many there were, and the quickest three quarters are what repeats (see
benchmarks/quiet.py). Fewer than a quarter would do better on one thread, but with several a call is now and then lucky:
its threads happen to be awake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["SHARES", "quickest_values"]

SHARES: Mapping[str, float] = {"quiet": 1 / 4, "usual": 3 / 4}  # statistics, and whose mean they are


def quickest_values(samples: Sequence[float], share: float) -> list[float]:
    """One value for every sample, in their order, whose mean is that of this share of the quickest (one at least).

    With q the quickest sample that no longer counts and f the share of those that do, x becomes q + min(x - q, 0) / f.
    These are the pseudo-values of the lower-tail mean: their standard error is its own to first order, and values of
    two subjects from the same rounds pair.
    """
    ordered = sorted(samples)
    count = max(1, round(share * len(ordered)))
    edge = ordered[min(count, len(ordered) - 1)]
    return [edge + min(sample - edge, 0.0) * len(ordered) / count for sample in samples]
