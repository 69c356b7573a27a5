"""Cuts at random: the same for every tool and network that the benchmarks try."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tailor.latency.candidates import draw_networks
from tailor.spec import ChannelGraph, KeepPlan, Widths

__all__ = ["random_networks", "random_plan"]

_DRAWN = 400


def random_plan(graph: ChannelGraph, share: float, seed: int) -> KeepPlan:
    """Remove the share from every group that may be cut."""
    rng = np.random.default_rng(seed)
    kept = {}
    for group in graph.groups:
        removed = 0 if group.pinned else int(share * group.width)
        chosen = rng.permutation(group.width)[removed:]
        kept[group.name] = tuple(sorted(int(unit) for unit in chosen))
    return KeepPlan(fingerprint=graph.fingerprint, kept=kept)


def random_networks(graph: ChannelGraph, places: Sequence[float], seed: int) -> list[Widths]:
    """Networks of any widths, one for each place (0 to 1) in the order of their work among 400 that are drawn."""
    every = {
        group.name: tuple(width for width in range(group.smallest, group.width + 1) if group.allows(width))
        for group in graph.groups
    }
    ordered = sorted(draw_networks(graph, every, _DRAWN, seed), key=graph.macs)
    return [ordered[int(place * len(ordered) + 1e-9)] for place in places]
