"""Which staircases a group walks along when its width changes: those of the layers that read or write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tailor.latency.staircase import Staircase
from tailor.spec import Axis

__all__ = ["Stairs", "Touch", "touches_of"]

Stairs = Mapping[tuple[str, str], Staircase]  # by layer name and axis, "out" or "in"


class TouchedLayer(Protocol):
    """A layer of a network with the groups that its axes are made of."""

    @property
    def name(self) -> str:
        """Path of the module."""

    @property
    def inputs(self) -> Axis:
        """Input channels."""

    @property
    def outputs(self) -> Axis:
        """Output channels."""

    @property
    def calls(self) -> int:
        """How often one run of the network calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One staircase that a group walks along: `per_unit` channels per unit, `offset` channels of other groups."""

    staircase: Staircase
    per_unit: int
    offset: int
    calls: int

    def channels(self, width: int) -> int:
        """Channels along the staircase when the group has this width."""
        return self.offset + self.per_unit * width

    def ns(self, width: int) -> int:
        """What all calls of the layer cost alone."""
        return self.calls * self.staircase.at(self.channels(width))


def touches_of(
    group: str, layers: Sequence[TouchedLayer], stairs: Stairs, dense: Mapping[str, int]
) -> tuple[Touch, ...]:
    """The group's touches with the other groups at their dense widths; axes without a staircase are left out."""
    touches = []
    for layer in layers:
        for name, axis in (("out", layer.outputs), ("in", layer.inputs)):
            per_unit, staircase = dict(axis.terms).get(group), stairs.get((layer.name, name))
            if per_unit and staircase is not None:
                offset = axis.size(dense) - per_unit * dense[group]
                touches.append(Touch(staircase=staircase, per_unit=per_unit, offset=offset, calls=layer.calls))
    return tuple(touches)
