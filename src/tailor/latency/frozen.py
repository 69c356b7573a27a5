"""Latency as the knapsack methods see it: every layer priced by its output channels, its inputs as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tailor.latency.factors import Candidates, Factor, Factors, PricedLayers
from tailor.records import Estimate
from tailor.spec import Widths

__all__ = ["FrozenModel", "frozen_factors"]


class FrozenModel(PricedLayers, Protocol):
    """A sum over layers that also predicts the whole network."""

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network."""


def frozen_factors(model: FrozenModel, candidates: Candidates, around: Widths) -> Factors:
    """One term per group: what the layers that write it take at each width, all else as in the network `around`.

    T_l(p_{l-1} now, p_l) of Shen et al. 2022, "HALP", equations 5 and 6; the rest of the network, which their table of
    convolutions leaves out, is the constant, so that the sum is right at `around`.
    """
    writers: dict[str, list[int]] = {}
    for index, layer in enumerate(model.priced_layers):
        for group in dict.fromkeys(group for group, _ in layer.outputs.terms):
            if len(candidates.get(group, ())) > 1:
                writers.setdefault(group, []).append(index)
    terms = tuple(Factor(groups=(group,), ns=_prices(model, layers, group, candidates, around))
                  for group, layers in writers.items())
    known = sum(term.ns[(_nearest(candidates[term.groups[0]], around[term.groups[0]]),)] for term in terms)
    return Factors(constant_ns=model.predict(around).ns - known, terms=terms, approximation=0.0)


def _prices(
    model: FrozenModel, layers: list[int], group: str, candidates: Candidates, around: Widths
) -> Mapping[tuple[int, ...], int]:
    prices: dict[tuple[int, ...], int] = {}
    for width in candidates[group]:
        widths = around.but({group: width})
        total = 0.0
        for index in layers:
            layer = model.priced_layers[index]
            reads_itself = any(name == group for name, _ in layer.inputs.terms)  # depthwise, or a stream to itself
            inputs = layer.inputs.size(widths if reads_itself else around)
            total += model.layer_ns(index, inputs, layer.outputs.size(widths), around)
        prices[(width,)] = round(total)
    return prices


def _nearest(widths: tuple[int, ...], width: int) -> int:
    return min(widths, key=lambda candidate: abs(candidate - width))
