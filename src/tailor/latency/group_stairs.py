"""What a group's width costs: the prices of all layers that it touches, added up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tailor.latency.factors import group_price
from tailor.latency.profile import Profile
from tailor.latency.staircase import Point, Staircase, Tread
from tailor.latency.touches import Touch, touches_of
from tailor.spec import Widths

__all__ = ["group_stairs"]


def group_stairs(profile: Profile) -> dict[str, Staircase]:
    """Per group with a choice: what its layers cost, with the candidate widths as right edges, the other groups dense.

    As the latency model of whole networks has it; where that rests on lone layers, as they add up alone. Points are the
    widths at which every one of these layers was measured alone, and only stand where lone layers were added up.
    """
    choices = {group: widths for group, widths in profile.candidates.items() if len(widths) > 1}
    dense = Widths({group: widths[-1] for group, widths in profile.candidates.items()})
    if profile.surfaces is not None:
        return {group: _modelled(profile, group, widths, dense) for group, widths in choices.items()}
    known = {(name, found.axis): found.staircase for found in profile.staircases for name in found.layers}
    return {
        group: _summed(widths, touches, profile.resolution)
        for group, widths in choices.items()
        if (touches := touches_of(group, profile.latency.priced_layers, known, dense))
    }


def _modelled(profile: Profile, group: str, widths: Sequence[int], dense: Widths) -> Staircase:
    price = group_price(profile.latency, group, dense)
    treads = tuple(
        Tread(low=low + 1, right_edge=width, ns=round(price(width)))
        for low, width in itertools.pairwise([0, *widths])
    )
    return Staircase(points=(), treads=treads, resolution=profile.resolution)


def _summed(widths: Sequence[int], touches: Sequence[Touch], resolution: float) -> Staircase:
    treads = tuple(
        Tread(low=low + 1, right_edge=width, ns=sum(touch.ns(width) for touch in touches))
        for low, width in itertools.pairwise([0, *widths])
    )
    measured = [{p.channels: p for p in touch.staircase.points} for touch in touches]
    pairs = list(zip(touches, measured, strict=True))
    points = [
        _sum_of([(touch.calls, known[touch.channels(width)]) for touch, known in pairs], width)
        for width in range(1, widths[-1] + 1)
        if all(touch.channels(width) in known for touch, known in pairs)
    ]
    return Staircase(points=tuple(points), treads=treads, resolution=resolution)


def _sum_of(parts: Sequence[tuple[int, Point]], width: int) -> Point:
    ns = sum(calls * point.ns for calls, point in parts)
    error = math.sqrt(sum((calls * point.ns * point.noise) ** 2 for calls, point in parts))
    return Point(channels=width, ns=ns, noise=error / ns)
