"""The shrunk search space: which widths of each group are worth trying, and random networks drawn from them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tailor.latency.staircase import Staircase
from tailor.spec import Axis, ChannelGraph, ChannelGroup, Layer, Widths
from tailor.timing import claimable_step

__all__ = ["axes_of", "draw_networks", "group_candidates"]

_ATTEMPTS = 50  # draws per wanted network before the space counts as exhausted

Stairs = Mapping[tuple[str, str], Staircase]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Touch:
    """One staircase that a group walks along: `per_unit` channels per unit, `offset` channels of others."""

    staircase: Staircase
    per_unit: int
    offset: int
    calls: int

    def ns(self, width: int) -> int:
        return self.calls * self.staircase.at(self.offset + self.per_unit * width)


def axes_of(layer: Layer) -> tuple[tuple[str, Axis], ...]:
    """The axes along which a layer may have stairs: both, or one for depthwise layers, whose axes move together."""
    return (("out", layer.outputs),) if layer.depthwise else (("out", layer.outputs), ("in", layer.inputs))


def group_candidates(graph: ChannelGraph, stairs: Stairs, resolution: float) -> dict[str, tuple[int, ...]]:
    """Widths per group, ascending: the right edges of the treads of all layers that the group touches, summed.

    Going down from the dense width, an edge is kept when it saves at least max(3 x resolution, 1 %) of what the
    group's layers cost in sum over the last one kept; smaller steps cannot be told from noise. `stairs` maps
    (layer name, "out" or "in") to the layer's staircase. Groups that are pinned or save nothing keep one width.
    """
    dense = graph.dense_widths
    return {group.name: _edges(group, _touches(graph, group, stairs, dense), resolution) for group in graph.groups}


def draw_networks(candidates: Mapping[str, tuple[int, ...]], count: int, seed: int) -> tuple[Widths, ...]:
    """Up to `count` distinct networks: the narrowest first, then random ones from narrow to wide; never the dense.

    Widths drawn independently would all cost about the same (their sum concentrates), and the model would never see
    deep cuts. So every network draws its own mean width first, and the groups scatter around it.
    """
    draw = random.Random(seed)
    dense = Widths({group: widths[-1] for group, widths in candidates.items()})
    narrowest = Widths({group: widths[0] for group, widths in candidates.items()})
    chosen = {} if narrowest == dense else {narrowest: None}
    for _ in range(_ATTEMPTS * count):
        if len(chosen) >= count:
            break
        mean, scatter = draw.uniform(0.05, 0.95), draw.choice((2.0, 6.0))
        picked = {group: _pick(draw, widths, mean, scatter) for group, widths in candidates.items()}
        if (network := Widths(picked)) != dense:
            chosen[network] = None
    return tuple(chosen)


def _pick(draw: random.Random, widths: tuple[int, ...], mean: float, scatter: float) -> int:
    share = draw.betavariate(scatter * mean, scatter * (1 - mean))
    return widths[min(int(share * len(widths)), len(widths) - 1)]


def _touches(graph: ChannelGraph, group: ChannelGroup, stairs: Stairs, dense: Widths) -> tuple[_Touch, ...]:
    touches = []
    for layer in graph.layers:
        for name, axis in axes_of(layer):
            per_unit = dict(axis.terms).get(group.name)
            if per_unit and (layer.name, name) in stairs:
                offset = axis.size(dense) - per_unit * group.width
                staircase = stairs[layer.name, name]
                touches.append(_Touch(staircase=staircase, per_unit=per_unit, offset=offset, calls=layer.calls))
    return tuple(touches)


def _edges(group: ChannelGroup, touches: tuple[_Touch, ...], resolution: float) -> tuple[int, ...]:
    found = set()
    for touch in touches:
        for edge in touch.staircase.edges:
            width = (edge - touch.offset) // touch.per_unit
            found.add(width // group.quantum * group.quantum)
    kept = [group.width]
    price = dense_price = sum(touch.ns(group.width) for touch in touches)
    for width in sorted(found, reverse=True):
        if width == group.width or not group.allows(width):
            continue
        cheaper = sum(touch.ns(width) for touch in touches)
        if price - cheaper >= claimable_step(resolution) * dense_price:
            kept.append(width)
            price = cheaper
    return tuple(reversed(kept))
