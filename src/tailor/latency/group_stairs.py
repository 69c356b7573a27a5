"""Adds up the staircases of all layers that a group touches: what the group's width costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailor.latency.factored import LayerTerm
from tailor.latency.profile import LayerStaircase, Profile
from tailor.latency.staircase import Point, Staircase, Tread
from tailor.latency.surface_model import SurfaceLayer

__all__ = ["group_stairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Touch:
    """A staircase that the group walks along: `per_unit` channels per unit, `offset` channels of other groups."""

    staircase: Staircase
    per_unit: int
    offset: int
    calls: int

    def channels(self, width: int) -> int:
        return self.offset + self.per_unit * width


def group_stairs(profile: Profile) -> dict[str, Staircase]:
    """Per group with a choice: the summed latency of its layers alone, with the candidate widths as right edges.

    The other groups are at their dense widths. Points are the widths at which every one of these layers was measured.
    """
    dense = {group: widths[-1] for group, widths in profile.candidates.items()}
    return {
        group: _summed(widths, touches, profile.resolution)
        for group, widths in profile.candidates.items()
        if len(widths) > 1 and (touches := _touches(group, profile.latency.priced_layers, profile.staircases, dense))
    }


def _touches(
    group: str, layers: Sequence[LayerTerm | SurfaceLayer], stairs: Sequence[LayerStaircase], dense: Mapping[str, int]
) -> list[_Touch]:
    known = {(name, found.axis): found.staircase for found in stairs for name in found.layers}
    touches = []
    for layer in layers:
        for name, axis in (("out", layer.outputs), ("in", layer.inputs)):
            per_unit, staircase = dict(axis.terms).get(group), known.get((layer.name, name))
            if per_unit and staircase is not None:
                offset = axis.size(dense) - per_unit * dense[group]
                touches.append(_Touch(staircase=staircase, per_unit=per_unit, offset=offset, calls=layer.calls))
    return touches


def _summed(widths: Sequence[int], touches: Sequence[_Touch], resolution: float) -> Staircase:
    treads = tuple(
        Tread(low=low + 1, right_edge=width, ns=sum(t.calls * t.staircase.at(t.channels(width)) for t in touches))
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
