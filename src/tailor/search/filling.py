"""Room under the limit, given back: groups are widened in turn, those first that gain most for what they cost."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from tailor.latency.factors import Factors
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["filled"]

_NOTHING = 1e-12  # ns that a step costs at least, so that what is free comes first


def filled(
    space: SearchSpace, values: Mapping[str, Sequence[float]], prices: Factors, widths: Widths, limit_ns: float
) -> Widths:
    """The same widths or wider ones: no group's next candidate fits any more, where wider is never predicted faster.

    `values` has one value per candidate; `prices` (of one group each) only say in which order to try, a group without
    a price is free. `widths` must keep the limit.
    """
    costs = {term.groups[0]: term.ns for term in prices.terms}
    ranks = {group: rank for rank, group in enumerate(space.free)}

    def entry(group: str) -> tuple[float, int, str] | None:
        own = space.candidates[group]
        place = own.index(widths[group])
        if place + 1 == len(own):
            return None
        price = costs[group][(own[place + 1],)] - costs[group][(own[place],)] if group in costs else 0
        return -(values[group][place + 1] - values[group][place]) / max(price, _NOTHING), ranks[group], group

    waiting = [found for group in space.free if (found := entry(group)) is not None]
    heapq.heapify(waiting)
    while waiting:
        *_, group = heapq.heappop(waiting)
        own = space.candidates[group]
        wider = widths.but({group: own[own.index(widths[group]) + 1]})
        if space.latency_ns(wider) > limit_ns:
            continue  # nor will it later, when others are wider
        widths = wider
        if (found := entry(group)) is not None:
            heapq.heappush(waiting, found)
    return widths
