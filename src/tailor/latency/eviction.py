"""What a network takes when it waits the longer for its data the longer it takes.

A layer is slower in a slow network than in a fast one, whatever its own channels. Between two uses of a weight, a
buffer or a piece of code lies one call of the network; the longer that is, the more of the caches others on the host
have filled meanwhile (the network's own working set tells less, see docs/latency.md). So a network takes what its
layers take in as much time as it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tailor.latency.basis import EVICTION_STEPS

__all__ = ["settled_ns"]

_MS = 1e6  # ns


def settled_ns(warm_ns: float, evicted_ns: Sequence[float]) -> float:
    """The least t in ns with t = warm + sum over the steps of (how far t has crossed it) x its cost.

    `warm_ns` is what the network takes as long as nothing is evicted, `evicted_ns` what it adds when a step of
    `basis.EVICTION_STEPS` is crossed. Between the steps' ends both sides are straight lines, so the answer is exact.
    """
    total = warm_ns
    for (low, high), cost in zip(EVICTION_STEPS, evicted_ns, strict=True):
        if total <= low * _MS:
            return total
        if total + cost <= high * _MS:  # they meet within this step
            return (total - cost * low / (high - low)) / (1 - cost / ((high - low) * _MS))
        total += cost
    return total
