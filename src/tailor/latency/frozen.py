"""Latency as the knapsack methods see it: every layer priced by one of its axes, the other as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tailor.latency.factors import Candidates, Factor, Factors, PricedLayers
from tailor.records import Estimate
from tailor.spec import Widths

__all__ = ["SIDES", "FrozenModel", "frozen_factors"]

SIDES = ("outputs", "inputs")


class FrozenModel(PricedLayers, Protocol):
    """A sum over layers that also predicts the whole network."""

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network."""


def frozen_factors(
    model: FrozenModel, candidates: Candidates, around: Widths, *, side: str = "outputs"
) -> Factors:
    """One term per group: what the layers that write (or read) it take at each width, all else as in `around`.

    Side "outputs" is T_l(p_{l-1} now, p_l) of Shen et al. 2022, "HALP", equations 5 and 6, "inputs" T_l(p_{l-1}, p_l
    now) of SMCP (2022). The rest of the network, which their tables of convolutions leave out, is the constant, so
    that the sum is right at `around`.
    """
    owners: dict[str, list[int]] = {}
    for index, layer in enumerate(model.priced_layers):
        axis = layer.outputs if side == "outputs" else layer.inputs
        for group in dict.fromkeys(group for group, _ in axis.terms):
            if len(candidates.get(group, ())) > 1:
                owners.setdefault(group, []).append(index)
    terms = tuple(
        Factor(groups=(group,), ns=_prices(model, layers, group, candidates, around, side))
        for group, layers in owners.items()
    )
    known = sum(term.ns[(_nearest(candidates[term.groups[0]], around[term.groups[0]]),)] for term in terms)
    return Factors(constant_ns=model.predict(around).ns - known, terms=terms, approximation=0.0)


def _prices(
    model: FrozenModel, layers: list[int], group: str, candidates: Candidates, around: Widths, side: str
) -> Mapping[tuple[int, ...], int]:
    prices: dict[tuple[int, ...], int] = {}
    for width in candidates[group]:
        widths = around.but({group: width})
        total = 0.0
        for index in layers:
            layer = model.priced_layers[index]
            # the other axis follows where it is the same group's: depthwise, or a stream to itself
            inputs, outputs = (
                axis.size(widths if own or any(name == group for name, _ in axis.terms) else around)
                for axis, own in ((layer.inputs, side == "inputs"), (layer.outputs, side == "outputs"))
            )
            total += model.layer_ns(index, inputs, outputs, around)
        prices[(width,)] = round(total)
    return prices


def _nearest(widths: tuple[int, ...], width: int) -> int:
    return min(widths, key=lambda candidate: abs(candidate - width))
