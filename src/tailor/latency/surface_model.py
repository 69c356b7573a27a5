"""Predicts a whole network's latency from surfaces: what each layer takes inside networks, over its channel counts.

The total is the sum of the layers' surfaces, each kind of layer scaled by a factor near 1, plus what touches every
activation, a constant, and what it costs that weights and activations together outgrow the caches. Surfaces come from
the engine's own account of whole networks of random widths, the factors from their measured latency (see
`surface_fitting`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailor.latency.bands import ErrorBand, estimated
from tailor.latency.basis import FOOTPRINT_STEPS, footprint_share, term_named, term_values
from tailor.latency.factors import Factors, factors_of
from tailor.latency.seen import beyond
from tailor.latency.surface import Surface
from tailor.records import Estimate
from tailor.spec import Axis, LayerShape, Widths

__all__ = ["SurfaceLatency", "SurfaceLayer", "SurfaceTerms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceLayer:
    """One layer of the network: whose widths it reads, which surface prices it, and how many samples run at once."""

    name: str
    shape: LayerShape
    inputs: Axis
    outputs: Axis
    calls: int
    surface: int
    batch_size: int = 1

    def elements(self, outputs: int) -> int:
        """Elements that its calls write, for one sample."""
        return self.calls * outputs * (1 if self.shape.kind == "linear" else math.prod(self.shape.output_spatial))

    def megabytes(self, inputs: int, outputs: int) -> float:
        """What its calls bring into the caches: its weights and all that it writes, as 4-byte numbers."""
        weights = inputs * outputs * math.prod(self.shape.kernel) if self.shape.groups == 1 else 0  # too few to count
        return 4e-6 * (weights + self.batch_size * self.elements(outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceTerms:
    """Everything a surface model knows; plain data, stored in profile.json.

    `scales` has one factor per surface; `traffic_ns` is the cost per element written; `footprint_ns` the cost per
    megabyte of the working set for each step in `basis.FOOTPRINT_STEPS`; `overhead_ns` what the engine's account cost
    per node and was taken off; `narrowest` the smallest width per group that was measured: below it, it extrapolates;
    `removed` the groups that were also measured at width 0.
    """

    layers: tuple[SurfaceLayer, ...]
    surfaces: tuple[Surface, ...]
    scales: tuple[float, ...]
    traffic_ns: float
    footprint_ns: tuple[float, ...]
    constant_ns: float
    overhead_ns: float
    dense_ns: int
    bands: tuple[ErrorBand, ...]
    narrowest: Mapping[str, int]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Price:
    """One layer at given sizes: ns with all data in the nearest cache, and ns for each footprint step crossed."""

    ns: float
    steps: tuple[float, ...]
    megabytes: float


class SurfaceLatency:
    """A latency model (see protocols): the sum of its layers' prices; the interval is the held-out 90 % error."""

    def __init__(self, terms: SurfaceTerms) -> None:
        self.terms = terms
        self._known: list[dict[tuple[int, int], _Price]] = [{} for _ in terms.layers]
        self._near: tuple[Widths, list[float]] | None = None  # solvers ask for thousands of prices around one network

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network; "extrapolated" below the narrowest widths that were measured."""
        prices = [
            self._price(index, layer.inputs.size(widths), layer.outputs.size(widths))
            for index, layer in enumerate(self.terms.layers)
        ]
        megabytes = sum(price.megabytes for price in prices)
        shares = _shares(megabytes)
        total = self.terms.constant_ns + sum(price.ns for price in prices)
        for step, share in enumerate(shares):
            if share:
                fetched = sum(price.steps[step] for price in prices) + self.terms.footprint_ns[step] * megabytes
                total += share * fetched
        below = beyond(widths, self.terms.narrowest, self.terms.removed)
        return estimated(total, self.terms.bands, extrapolated=bool(below))

    @property
    def constant_ns(self) -> float:
        """What no layer adds."""
        return self.terms.constant_ns

    @property
    def priced_layers(self) -> tuple[SurfaceLayer, ...]:
        """The layers, in the order of their positions."""
        return self.terms.layers

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The sum as terms over one or two groups, the caches as full as the network `around` fills them."""
        return factors_of(self, candidates, around)

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        """What the layer at this position adds in ns, the caches as full as the network `around` fills them."""
        shares = self._shares_near(around)
        price = self._price(index, in_channels, out_channels)
        fetched = (
            share * (ns + cost * price.megabytes)
            for share, ns, cost in zip(shares, price.steps, self.terms.footprint_ns, strict=True)
        )
        return price.ns + sum(fetched)

    def megabytes(self, widths: Widths) -> float:
        """The network's working set: weights and everything written."""
        return sum(x.megabytes(x.inputs.size(widths), x.outputs.size(widths)) for x in self.terms.layers)

    def _shares_near(self, around: Widths) -> list[float]:
        if self._near is None or self._near[0] is not around:
            self._near = around, _shares(self.megabytes(around))
        return self._near[1]

    def _price(self, index: int, in_channels: int, out_channels: int) -> _Price:
        known, sizes = self._known[index], (in_channels, out_channels)
        if sizes not in known:
            known[sizes] = self._priced(self.terms.layers[index], in_channels, out_channels)
        return known[sizes]

    def _priced(self, layer: SurfaceLayer, in_channels: int, out_channels: int) -> _Price:
        if not in_channels or not out_channels:  # gone with its branch
            return _Price(ns=0.0, steps=(0.0,) * len(FOOTPRINT_STEPS), megabytes=0.0)
        inputs, outputs = np.array([float(in_channels)]), np.array([float(out_channels)])
        surface = self.terms.surfaces[layer.surface]
        while surface.rule is not None and surface.yes is not None and surface.no is not None:
            surface = surface.yes if surface.rule.answers(inputs, outputs)[0] else surface.no
        scale = self.terms.scales[layer.surface]
        ns = self.terms.traffic_ns * layer.elements(out_channels)
        steps = [0.0] * len(FOOTPRINT_STEPS)
        for name, coefficient in (surface.coefficients or {}).items():
            term = term_named(name)
            if term.kind == "fetched":
                steps[term.inputs] += scale * coefficient * in_channels * out_channels
            else:
                value = term_values([term], inputs, outputs, np.zeros(1))[0, 0]
                ns += scale * coefficient * float(value)
        return _Price(ns=ns, steps=tuple(steps), megabytes=layer.megabytes(in_channels, out_channels))


def _shares(megabytes: float) -> list[float]:
    size = np.array([megabytes])
    return [float(footprint_share(step, size)[0]) for step in range(len(FOOTPRINT_STEPS))]
