"""Predicts a whole network's latency from surfaces: what each layer takes inside networks, over its channel counts.

The total is the sum of the layers' surfaces, each kind of layer scaled by a factor near 1, plus what touches every
activation, a constant, and what it costs that data have left the caches: weights and activations that together outgrow
them, and whatever others on the host evict while the network takes its time (see `eviction`). Surfaces come from the
engine's own account of whole networks of random widths, the factors from their measured latency (see
`surface_fitting`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailor.latency.bands import ErrorBand, estimated
from tailor.latency.basis import (
    EVICTED,
    EVICTION_STEPS,
    FOOTPRINT_STEPS,
    eviction_share,
    footprint_share,
    term_named,
    term_values,
)
from tailor.latency.eviction import settled_ns
from tailor.latency.factors import Factors, factors_of
from tailor.latency.seen import beyond
from tailor.latency.surface import Surface
from tailor.records import Estimate
from tailor.spec import Axis, LayerShape, Widths

__all__ = ["SurfaceLatency", "SurfaceLayer", "SurfaceTerms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceLayer:
    """One layer of the network: whose widths it reads, which surface prices it, and how many samples run at once.

    `followed` says that more nodes of the running network follow it than others of its surface (a pool, say), whose
    time is part of its own.
    """

    name: str
    shape: LayerShape
    inputs: Axis
    outputs: Axis
    calls: int
    surface: int
    batch_size: int = 1
    followed: bool = False

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
    """One layer at given sizes: ns with all data in the nearest cache, and ns for each step crossed."""

    ns: float
    footprint: tuple[float, ...]
    evicted: tuple[float, ...]
    megabytes: float


@dataclass(frozen=True, slots=True)
class _Caches:
    """How far a network has crossed each step, by its working set and by its latency."""

    footprint: tuple[float, ...]
    evicted: tuple[float, ...]


class SurfaceLatency:
    """A latency model (see protocols): the sum of its layers' prices; the interval is the held-out 90 % error."""

    def __init__(self, terms: SurfaceTerms) -> None:
        self.terms = terms
        self._known: list[dict[tuple[int, int], _Price]] = [{} for _ in terms.layers]
        self._near: tuple[Widths, _Caches] | None = None  # solvers ask for thousands of prices around one network

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network; "extrapolated" below the narrowest widths that were measured."""
        below = beyond(widths, self.terms.narrowest, self.terms.removed)
        return estimated(self._total_ns(widths), self.terms.bands, extrapolated=bool(below))

    @property
    def constant_ns(self) -> float:
        """What no layer adds."""
        return self.terms.constant_ns

    @property
    def priced_layers(self) -> tuple[SurfaceLayer, ...]:
        """The layers, in the order of their positions."""
        return self.terms.layers

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The sum as terms over one or two groups, the caches as those of the network `around`."""
        return factors_of(self, candidates, around)

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        """What the layer at this position adds in ns, the caches as those of the network `around`."""
        caches = self._caches_near(around)
        price = self._price(index, in_channels, out_channels)
        fetched = sum(
            share * (ns + cost * price.megabytes)
            for share, ns, cost in zip(caches.footprint, price.footprint, self.terms.footprint_ns, strict=True)
        )
        return price.ns + fetched + sum(share * ns for share, ns in zip(caches.evicted, price.evicted, strict=True))

    def megabytes(self, widths: Widths) -> float:
        """The network's working set: weights and everything written."""
        return sum(x.megabytes(x.inputs.size(widths), x.outputs.size(widths)) for x in self.terms.layers)

    def _total_ns(self, widths: Widths) -> float:
        prices = [
            self._price(index, layer.inputs.size(widths), layer.outputs.size(widths))
            for index, layer in enumerate(self.terms.layers)
        ]
        megabytes = sum(price.megabytes for price in prices)
        total = self.terms.constant_ns + sum(price.ns for price in prices)
        for step, share in enumerate(_footprint_shares(megabytes)):
            if share:
                fetched = sum(price.footprint[step] for price in prices) + self.terms.footprint_ns[step] * megabytes
                total += share * fetched
        return settled_ns(total, [sum(step) for step in zip(*(price.evicted for price in prices), strict=True)])

    def _caches_near(self, around: Widths) -> _Caches:
        if self._near is None or self._near[0] is not around:
            milliseconds = np.array([self._total_ns(around) / 1e6])
            evicted = tuple(float(eviction_share(step, milliseconds)[0]) for step in range(len(EVICTION_STEPS)))
            self._near = around, _Caches(_footprint_shares(self.megabytes(around)), evicted)
        return self._near[1]

    def _price(self, index: int, in_channels: int, out_channels: int) -> _Price:
        known, sizes = self._known[index], (in_channels, out_channels)
        if sizes not in known:
            known[sizes] = self._priced(self.terms.layers[index], in_channels, out_channels)
        return known[sizes]

    def _priced(self, layer: SurfaceLayer, in_channels: int, out_channels: int) -> _Price:
        footprint, evicted = [0.0] * len(FOOTPRINT_STEPS), [0.0] * len(EVICTION_STEPS)
        if not in_channels or not out_channels:  # gone with its branch
            return _Price(ns=0.0, footprint=tuple(footprint), evicted=tuple(evicted), megabytes=0.0)
        inputs, outputs = np.array([float(in_channels)]), np.array([float(out_channels)])
        surface = self.terms.surfaces[layer.surface]
        while surface.rule is not None and surface.yes is not None and surface.no is not None:
            surface = surface.yes if surface.rule.answers(inputs, outputs)[0] else surface.no
        ns, followed = self.terms.traffic_ns * layer.elements(out_channels), np.array([float(layer.followed)])
        for name, coefficient in (surface.coefficients or {}).items():
            term = term_named(name)
            crossed = float(term_values([term], inputs, outputs, _BEYOND, _BEYOND, followed)[0, 0])
            added = self.terms.scales[layer.surface] * coefficient * crossed
            if term.kind == "fetched":
                footprint[term.inputs] += added
            elif term.kind in EVICTED:
                evicted[term.inputs] += added
            else:
                ns += added
        megabytes = layer.megabytes(in_channels, out_channels)
        return _Price(ns=ns, footprint=tuple(footprint), evicted=tuple(evicted), megabytes=megabytes)


_BEYOND = np.array([math.inf])  # of every step: a term's value once it is crossed


def _footprint_shares(megabytes: float) -> tuple[float, ...]:
    size = np.array([megabytes])
    return tuple(float(footprint_share(step, size)[0]) for step in range(len(FOOTPRINT_STEPS)))
