"""A layer's shape at any widths of the groups that it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["Axis", "Layer", "LayerShape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One concrete convolution or linear layer: everything its latency depends on, nothing else.

    `kind` is "conv", "deconv" or "linear"; spatial tuples are one entry per spatial dimension, empty for linear.
    """

    kind: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    spatial: tuple[int, ...] = ()
    bias: bool = False

    @property
    def output_spatial(self) -> tuple[int, ...]:
        """Spatial size of the output, one entry per dimension."""
        dims = zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.kind == "deconv":
            extra = self.output_padding or (0,) * len(self.spatial)
            return tuple(
                (n - 1) * s - 2 * p + d * (k - 1) + e + 1 for (n, k, s, p, d), e in zip(dims, extra, strict=True)
            )
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in dims)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one sample; a layer without channels has none."""
        if not self.in_channels or not self.out_channels:
            return 0
        positions = math.prod(self.spatial if self.kind == "deconv" else self.output_spatial)
        return positions * math.prod(self.kernel) * (self.in_channels // self.groups) * self.out_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How many channels one dimension of a layer has: a fixed part, and so many per kept unit of each group.

    `within` is a group of the removable branch that the layer stands in, if any: at width 0 the layer is gone.
    """

    fixed: int
    terms: tuple[tuple[str, int], ...] = ()
    within: str | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the size depends on."""
        own = (group for group, _ in self.terms)
        return tuple(dict.fromkeys([*own, *([] if self.within is None else [self.within])]))

    def size(self, widths: Mapping[str, int]) -> int:
        """Channels along this axis when the groups have these widths; none when the layer is gone."""
        if self.within is not None and not widths[self.within]:
            return 0
        return self.fixed + sum(per_unit * widths[group] for group, per_unit in self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or linear layer of the network and the groups its two axes read."""

    name: str
    shape: LayerShape
    inputs: Axis
    outputs: Axis
    calls: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether every block reads one input channel, so that blocks vanish with their channels."""
        return self.shape.groups > 1 and self.shape.groups == self.shape.in_channels

    def at(self, widths: Mapping[str, int]) -> LayerShape:
        """The concrete layer when the groups have these widths; one of a removed branch has no channels."""
        in_channels, out_channels = self.inputs.size(widths), self.outputs.size(widths)
        if not in_channels or not out_channels:
            return replace(self.shape, in_channels=0, out_channels=0, groups=1)
        groups = in_channels if self.depthwise else self.shape.groups
        return replace(self.shape, in_channels=in_channels, out_channels=out_channels, groups=groups)
