"""Predicts a whole network's latency as a sum of terms, each of which reads the two widths of one layer.

A layer's time is close to a product of its two widths, seen through the engine's padding. Each layer therefore
contributes its lone-layer staircase, scaled, and padded products and sums of its channels; the coefficients are
shared by layers of equal signature and fitted on whole networks of random widths (see `fitting`). Deltas taken
around the dense network do not extrapolate to deep cuts; this form does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailor.latency.factors import Factors, factors_of
from tailor.latency.seen import beyond
from tailor.latency.staircase import Staircase, quantum_of, stair_levels
from tailor.records import Estimate
from tailor.spec import Axis, Layer, LayerShape, Widths

__all__ = [
    "Coefficients",
    "Curve",
    "FactoredLatency",
    "FactoredTerms",
    "FitError",
    "LayerTerm",
    "LoneLayer",
    "curve_of",
    "layer_features",
    "lone_layer",
    "signature_of",
]

_DEFAULT_QUANTUM = 16  # floats in an AVX-512 register: the channel block of a layer whose stairs show none


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Relative latency along one axis: 1 at the dense size, linear between the measured channel counts.

    `intercept` is the part that would remain without channels: what the axis cannot save.
    """

    channels: tuple[int, ...]
    levels: tuple[float, ...]
    intercept: float

    def reach(self, count: int) -> float:
        """The share (0 to 1) of what this axis can save that is still spent at this channel count."""
        if self.intercept >= 1:
            return 1.0
        level = float(np.interp(count, self.channels, self.levels))
        return max(0.0, (level - self.intercept) / (1 - self.intercept))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneLayer:
    """A layer timed alone: ns at its dense shape, and its curves along the axes that groups can narrow."""

    ns: int
    inputs: Curve | None
    outputs: Curve | None
    quantum_in: int
    quantum_out: int

    def at(self, in_channels: int, out_channels: int) -> float:
        """Latency in ns when both axes are narrowed: the smallest bilinear form that agrees with both curves.

        With x and y the reaches, t / t_dense = a + b x + c y + d x y has one degree of freedom left by the two curves;
        the constant part is taken as large as it can be, because what neither axis saves is overhead.
        """
        x = 1.0 if self.inputs is None else self.inputs.reach(in_channels)
        y = 1.0 if self.outputs is None else self.outputs.reach(out_channels)
        rest_in = 0.0 if self.inputs is None else min(1.0, self.inputs.intercept)
        rest_out = 0.0 if self.outputs is None else min(1.0, self.outputs.intercept)
        if self.inputs is None or self.outputs is None:
            rest = rest_in + rest_out
            return self.ns * (rest + (1 - rest) * x * y)
        constant, product = min(rest_in, rest_out), 1 - max(rest_in, rest_out)
        only_x, only_y = rest_out - constant, rest_in - constant
        return self.ns * (constant + only_x * x + only_y * y + product * x * y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """What one signature's features cost: `lone` is a factor, the others are ns per element (see layer_features).

    `traffic_out` and `traffic_in` (elements written and read, unpadded) are the same for every signature: norms,
    activations and additions touch them wherever they stand.
    """

    lone: float
    product: float
    outputs: float
    inputs: float
    traffic_out: float
    traffic_in: float

    def times(self, features: Coefficients) -> float:
        """Nanoseconds: the sum of coefficient times feature."""
        return (
            self.lone * features.lone
            + self.product * features.product
            + self.outputs * features.outputs
            + self.inputs * features.inputs
            + self.traffic_out * features.traffic_out
            + self.traffic_in * features.traffic_in
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTerm:
    """One layer of the network: whose widths it reads, and which lone layer and coefficients price it."""

    name: str
    shape: LayerShape
    inputs: Axis
    outputs: Axis
    calls: int
    lone: int
    signature: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoredTerms:
    """Everything a factored latency model knows; plain data, stored in profile.json.

    `q90` is the 90 % quantile of the relative error on held-out networks; `narrowest` the smallest width per group
    among the networks measured: below it the model extrapolates; `removed` the groups that were also measured at 0.
    """

    layers: tuple[LayerTerm, ...]
    lone: tuple[LoneLayer, ...]
    coefficients: tuple[Coefficients, ...]
    constant_ns: float
    dense_ns: int
    q90: float
    narrowest: Mapping[str, int]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FitError:
    """Relative error on networks that the fit did not see: mean, worst, share within 5 and 10 %, 90 % quantile.

    `kendall_tau` (-1 to 1) says how well the networks' order is predicted; `networks` counts them.
    """

    mean: float
    worst: float
    within_5: float
    within_10: float
    q90: float
    kendall_tau: float
    networks: int


class FactoredLatency:
    """A latency model (see protocols): the sum of its layers' terms, with the held-out 90 % error as its interval."""

    def __init__(self, terms: FactoredTerms) -> None:
        self.terms = terms
        self._known: list[dict[tuple[int, int], float]] = [{} for _ in terms.layers]

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network; "extrapolated" below the narrowest widths that were measured."""
        total = self.terms.constant_ns
        for index, layer in enumerate(self.terms.layers):
            total += self.layer_ns(index, layer.inputs.size(widths), layer.outputs.size(widths))
        below = beyond(widths, self.terms.narrowest, self.terms.removed)
        return Estimate(
            ns=round(total),
            low_ns=round(total * (1 - self.terms.q90)),
            high_ns=round(total * (1 + self.terms.q90)),
            source="extrapolated" if below else "fitted",
        )

    @property
    def constant_ns(self) -> float:
        """What no layer adds."""
        return self.terms.constant_ns

    @property
    def priced_layers(self) -> tuple[LayerTerm, ...]:
        """The layers, in the order of their positions."""
        return self.terms.layers

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The sum as terms over one or two groups; the same around every network."""
        return factors_of(self, candidates, around)

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths | None = None) -> float:
        """What the layer at this position adds in ns when its axes have these sizes, whatever is around."""
        known, sizes = self._known[index], (in_channels, out_channels)
        if sizes not in known:
            layer = self.terms.layers[index]
            features = layer_features(layer, self.terms.lone[layer.lone], in_channels, out_channels)
            known[sizes] = self.terms.coefficients[layer.signature].times(features)
        return known[sizes]


def layer_features(layer: LayerTerm, lone: LoneLayer, in_channels: int, out_channels: int) -> Coefficients:
    """What the coefficients multiply: lone ns, padded MACs, padded and unpadded output and input elements.

    All but the first for one sample; all for every call of the layer; padded as the stairs say, else to 16 channels.
    A layer without channels is gone: all are 0.
    """
    if not in_channels or not out_channels:
        return Coefficients(lone=0.0, product=0.0, outputs=0.0, inputs=0.0, traffic_out=0.0, traffic_in=0.0)
    shape = layer.shape
    padded_in = _padded(in_channels, lone.quantum_in)
    padded_out = _padded(out_channels, lone.quantum_out)
    groups = in_channels if shape.groups == shape.in_channels else shape.groups
    written = 1 if shape.kind == "linear" else math.prod(shape.output_spatial)
    read = math.prod(shape.spatial)
    return Coefficients(
        lone=layer.calls * lone.at(in_channels, out_channels),
        product=layer.calls * padded_in * padded_out / max(1, groups) * written * math.prod(shape.kernel),
        outputs=float(layer.calls * padded_out * written),
        inputs=float(layer.calls * padded_in * read),
        traffic_out=float(layer.calls * out_channels * written),
        traffic_in=float(layer.calls * in_channels * read),
    )


def lone_layer(ns: int, inputs: Staircase | None, outputs: Staircase | None) -> LoneLayer:
    """What the stairs of a layer say about it; an axis without stairs costs the same at any size."""
    return LoneLayer(
        ns=ns,
        inputs=None if inputs is None else curve_of(inputs),
        outputs=None if outputs is None else curve_of(outputs),
        quantum_in=_quantum(inputs),
        quantum_out=_quantum(outputs),
    )


def curve_of(staircase: Staircase) -> Curve:
    """The relative monotone curve of a staircase, with the intercept of the line through its padded channels."""
    levels = stair_levels(staircase)
    channels = np.array([count for count, _ in levels], dtype=np.float64)
    relative = np.array([level / levels[-1][1] for _, level in levels])
    block = quantum_of(staircase)  # a line through unpadded counts would take half a block for overhead
    line = np.stack([np.ones_like(channels), np.ceil(channels / block) * block], axis=1)
    solution, *_ = np.linalg.lstsq(line, relative, rcond=None)
    intercept = float(np.clip(solution[0], 0.0, relative[0])) if len(levels) > 1 else 1.0
    return Curve(
        channels=tuple(int(count) for count in channels),
        levels=tuple(float(level) for level in relative),
        intercept=intercept,
    )


def signature_of(layer: Layer | LayerTerm) -> LayerShape:
    """Equal for layers that differ in their channel counts alone: these share coefficients."""
    shape = layer.shape
    depthwise = shape.groups > 1 and shape.groups == shape.in_channels
    return LayerShape(
        kind=shape.kind,
        in_channels=0,
        out_channels=0,
        kernel=shape.kernel,
        stride=shape.stride,
        padding=shape.padding,
        dilation=shape.dilation,
        output_padding=shape.output_padding,
        groups=0 if depthwise else shape.groups,
        spatial=shape.spatial,
    )


def _quantum(staircase: Staircase | None) -> int:
    return _DEFAULT_QUANTUM if staircase is None else quantum_of(staircase)


def _padded(count: int, quantum: int) -> int:
    return -(-count // quantum) * quantum

