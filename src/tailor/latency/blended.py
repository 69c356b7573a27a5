"""Two latency models of one network in one: a share of the first and the rest of the second.

One model learns from the engine's account of whole networks, the other from lone layers; where their errors have
little to do with each other, a mean of both is closer than either. Both are sums over the same layers, so their mean
is one as well, and gives exact solvers the same kind of terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailor.errors import SchemaError
from tailor.latency.bands import ErrorBand, error_bands, estimated
from tailor.latency.factored import FactoredLatency, FactoredTerms
from tailor.latency.factors import Factors, factors_of
from tailor.latency.robust import FloatArray
from tailor.latency.surface_model import SurfaceLatency, SurfaceLayer, SurfaceTerms
from tailor.records import Estimate
from tailor.spec import Widths

__all__ = ["Blend", "BlendedLatency", "best_blend", "latency_model"]

_SHARES = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """The share (0 to 1) of the surfaces, the rest being lone layers' terms, and the held-out error of the mean."""

    share: float
    bands: tuple[ErrorBand, ...]


class BlendedLatency:
    """A latency model (see protocols): the weighted mean of two; the interval is the mean's held-out 90 % error."""

    def __init__(self, surfaces: SurfaceTerms, terms: FactoredTerms, blend: Blend) -> None:
        names = [[layer.name for layer in layers] for layers in (surfaces.layers, terms.layers)]
        if names[0] != names[1]:
            raise SchemaError("the two latency models are of different layers; profile again", value=names)
        self._surfaces, self._terms = SurfaceLatency(surfaces), FactoredLatency(terms)
        self._blend = blend

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network; "extrapolated" below the narrowest widths that were measured."""
        first, second = self._surfaces.predict(widths), self._terms.predict(widths)
        outside = "extrapolated" in (first.source, second.source)
        return estimated(self._mean(first.ns, second.ns), self._blend.bands, extrapolated=outside)

    @property
    def constant_ns(self) -> float:
        """What no layer adds."""
        return self._mean(self._surfaces.constant_ns, self._terms.constant_ns)

    @property
    def priced_layers(self) -> tuple[SurfaceLayer, ...]:
        """The layers, in the order of their positions."""
        return self._surfaces.priced_layers

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The sum as terms over one or two groups, the caches as full as the network `around` fills them."""
        return factors_of(self, candidates, around)

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        """What the layer at this position adds in ns, the caches as full as the network `around` fills them."""
        sizes = (index, in_channels, out_channels, around)
        return self._mean(self._surfaces.layer_ns(*sizes), self._terms.layer_ns(*sizes))

    def _mean(self, first: float, second: float) -> float:
        return self._blend.share * first + (1 - self._blend.share) * second


def best_blend(surfaces: FloatArray, terms: FloatArray, ns: FloatArray) -> tuple[Blend, FloatArray]:
    """The share with the least mean relative error on networks that neither model has seen, and the means there.

    Held-out predictions of both models and the measured latencies, all of shape [networks], in ns.
    """
    means = [share * surfaces + (1 - share) * terms for share in _SHARES]
    best = int(np.argmin([np.mean(np.abs(mean / ns - 1)) for mean in means]))
    return Blend(share=float(_SHARES[best]), bands=error_bands(means[best], ns)), means[best]


def latency_model(
    surfaces: SurfaceTerms | None, terms: FactoredTerms | None, blend: Blend | None
) -> FactoredLatency | SurfaceLatency | BlendedLatency:
    """The model that these make: one alone, or both with a blend.

    Raises:
        SchemaError: there is none, or there are two and no blend, or a blend of two that price different layers.
    """
    if surfaces is not None and terms is not None and blend is not None:
        return BlendedLatency(surfaces, terms, blend)
    if surfaces is not None and terms is None:
        return SurfaceLatency(surfaces)
    if terms is not None and surfaces is None:
        return FactoredLatency(terms)
    raise SchemaError("the profile holds no latency model; profile again")
