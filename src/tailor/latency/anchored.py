"""A latency model put right where it is asked: every prediction times what measuring near the budget found.

Errors of a model are not the same everywhere: structures that one search proposes under one budget are alike, and
miss by about the same. A few of them measured before the search say how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tailor.latency.factors import Factors, PricedLayer, factors_of
from tailor.latency.frozen import FrozenModel
from tailor.records import Estimate
from tailor.spec import Widths

__all__ = ["AnchoredLatency", "SummedLatency"]


class SummedLatency(FrozenModel, Protocol):
    """A latency model that is a sum over layers, and tells its terms to solvers."""

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The terms, as they are near the network `around`."""


class AnchoredLatency:
    """A latency model (see protocols): another one's predictions, each times `factor`."""

    def __init__(self, model: SummedLatency, factor: float) -> None:
        self._model = model
        self._factor = factor

    def times(self, factor: float) -> AnchoredLatency:
        """The same model, and all prices that it knows by now, times another factor."""
        return AnchoredLatency(self._model, factor)

    @property
    def factor(self) -> float:
        """What every prediction is multiplied by."""
        return self._factor

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network."""
        found = self._model.predict(widths)
        ns, low, high = (round(self._factor * each) for each in (found.ns, found.low_ns, found.high_ns))
        return Estimate(ns=ns, low_ns=low, high_ns=high, source=found.source)

    @property
    def constant_ns(self) -> float:
        """What no layer adds."""
        return self._factor * self._model.constant_ns

    @property
    def priced_layers(self) -> Sequence[PricedLayer]:
        """The layers, in the order of their positions."""
        return self._model.priced_layers

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The sum as terms over one or two groups, as they are near the network `around`."""
        return factors_of(self, candidates, around)

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        """What the layer at this position adds in ns in the neighbourhood of the network `around`."""
        return self._factor * self._model.layer_ns(index, in_channels, out_channels, around)
