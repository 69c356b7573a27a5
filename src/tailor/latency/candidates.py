"""The shrunk search space: which widths of each group are worth trying, and random networks drawn from them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from tailor.latency.factors import PricedLayers, group_price
from tailor.latency.touches import Stairs, Touch, touches_of
from tailor.spec import Axis, ChannelGraph, ChannelGroup, Layer, Widths
from tailor.timing import claimable_step

__all__ = ["axes_of", "draw_networks", "group_candidates", "modelled_candidates"]

_NARROWEST = 0.1  # of the dense width, for networks of any widths
_WITHOUT_SOME = 0.5  # of the networks lack branches, where branches can go
_ATTEMPTS = 50  # draws per wanted network before the space counts as exhausted


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
    touches = {group: touches_of(group.name, graph.layers, stairs, dense) for group in graph.groups}
    return {group.name: _edges(group, walked, resolution) for group, walked in touches.items()}


def modelled_candidates(
    graph: ChannelGraph, latency: PricedLayers, narrowest: Mapping[str, int], resolution: float
) -> dict[str, tuple[int, ...]]:
    """The same right edges, read off a model of whole networks: what a group's layers cost there, the others dense.

    Lone layers show steps that networks do not have (a blocked layer alone pays for entering and leaving its layout).
    Widths below `narrowest`, the smallest that was measured, are not offered.
    """
    found = {}
    for group in graph.groups:
        allowed = [width for width in range(narrowest[group.name], group.width) if group.allows(width)]
        price = group_price(latency, group.name, graph.dense_widths)
        found[group.name] = _worthwhile(group.width, allowed, price, resolution)
    return found


def draw_networks(
    graph: ChannelGraph, candidates: Mapping[str, tuple[int, ...]], count: int, seed: int
) -> tuple[Widths, ...]:
    """Up to `count` distinct networks: the narrowest candidates first, then by turns of candidates and of any widths.

    Candidates are where a search goes; any widths teach what lies between them. Widths drawn independently would all
    cost about the same (their sum concentrates), and the model would never see deep cuts: so every network draws its
    own mean width first, and the groups scatter around it. Where branches can go, every second network lacks some of
    them, each with a chance of its own. Never the dense network.
    """
    draw = random.Random(seed)
    dense = graph.dense_widths
    narrowest = Widths({group: widths[0] for group, widths in candidates.items()})
    chosen = {} if narrowest == dense else {narrowest: None}
    anything = {group.name: _all_widths(group) for group in graph.groups}
    for attempt in range(_ATTEMPTS * count):
        if len(chosen) >= count:
            break
        mean, scatter = draw.uniform(0.05, 0.95), draw.choice((2.0, 6.0))
        choices = anything if attempt % 2 else candidates
        network = Widths({group: _pick(draw, widths, mean, scatter) for group, widths in choices.items()})
        if graph.removable and draw.random() < _WITHOUT_SOME:
            network = _without_some(draw, graph, network)
        if network != dense:
            chosen[network] = None
    return tuple(chosen)


def _without_some(draw: random.Random, graph: ChannelGraph, widths: Widths) -> Widths:
    share = draw.uniform(0.1, 0.9)
    gone = [branch for branch in graph.removable if draw.random() < share]
    return widths.but({group: 0 for branch in gone for group in branch.groups})


def _all_widths(group: ChannelGroup) -> tuple[int, ...]:
    """Every width that may be kept, from a tenth of the dense one."""
    lowest = max(group.smallest, round(_NARROWEST * group.width))
    return tuple(width for width in range(lowest, group.width + 1) if group.allows(width))


def _pick(draw: random.Random, widths: Sequence[int], mean: float, scatter: float) -> int:
    share = draw.betavariate(scatter * mean, scatter * (1 - mean))
    return widths[min(int(share * len(widths)), len(widths) - 1)]


def _edges(group: ChannelGroup, touches: tuple[Touch, ...], resolution: float) -> tuple[int, ...]:
    found = set()
    for touch in touches:
        for edge in touch.staircase.edges:
            width = (edge - touch.offset) // touch.per_unit
            found.add(width // group.quantum * group.quantum)
    found.discard(group.width)
    allowed = [width for width in found if width and group.allows(width)]  # going as a whole is no narrow width
    return _worthwhile(group.width, allowed, lambda width: sum(touch.ns(width) for touch in touches), resolution)


def _worthwhile(
    dense: int, widths: Sequence[int], price: Callable[[int], float], resolution: float
) -> tuple[int, ...]:
    """Going down from the dense width, those that save a claimable share of the dense price over the last one kept."""
    kept = [dense]
    last = whole = price(dense)
    for width in sorted(widths, reverse=True):
        cheaper = price(width)
        if last - cheaper >= claimable_step(resolution) * whole:
            kept.append(width)
            last = cheaper
    return tuple(reversed(kept))
