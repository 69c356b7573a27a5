"""A chain of layers whose latency is inputs x outputs, on a kernel that pads outputs to a block."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from tailor.latency.factors import Factors, factors_of
from tailor.records import Estimate
from tailor.spec import Axis, Widths


@dataclass(frozen=True, kw_only=True)
class PlantedLayer:
    inputs: Axis
    outputs: Axis


class PaddedChain:
    """`layers` layers between `layers - 1` groups, first input and last output fixed, and a constant."""

    def __init__(self, layers: int, width: int, *, block: int = 1, constant_ns: int = 0) -> None:
        self.block = block
        self._constant = constant_ns
        names = [f"g{index}" for index in range(layers - 1)]
        axes = [Axis(fixed=width), *(Axis(fixed=0, terms=((name, 1),)) for name in names), Axis(fixed=width)]
        self._layers = tuple(PlantedLayer(inputs=a, outputs=b) for a, b in itertools.pairwise(axes))
        self.dense = Widths(dict.fromkeys(names, width))

    @property
    def priced_layers(self) -> tuple[PlantedLayer, ...]:
        return self._layers

    @property
    def constant_ns(self) -> float:
        return float(self._constant)

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        return 1000.0 * in_channels * (-(-out_channels // self.block) * self.block)

    def predict(self, widths: Widths) -> Estimate:
        total = self._constant + sum(
            self.layer_ns(index, layer.inputs.size(widths), layer.outputs.size(widths), widths)
            for index, layer in enumerate(self._layers)
        )
        return Estimate(ns=round(total), low_ns=round(total), high_ns=round(total), source="fitted")

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        return factors_of(self, candidates, around)
