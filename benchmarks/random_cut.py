"""A cut at random: the same for every tool and network that the benchmarks try."""

from __future__ import annotations

import numpy as np

from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["random_plan"]


def random_plan(graph: ChannelGraph, share: float, seed: int) -> KeepPlan:
    """Remove the share from every group that may be cut."""
    rng = np.random.default_rng(seed)
    kept = {}
    for group in graph.groups:
        removed = 0 if group.pinned else int(share * group.width)
        chosen = rng.permutation(group.width)[removed:]
        kept[group.name] = tuple(sorted(int(unit) for unit in chosen))
    return KeepPlan(fingerprint=graph.fingerprint, kept=kept)
