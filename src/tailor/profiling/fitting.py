"""Fits both latency models to what was measured, and keeps the one that predicts unseen networks better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailor.latency.factored import FactoredTerms, FitError, LoneLayer
from tailor.latency.fitting import fit_factored
from tailor.latency.profile import NetworkProbe
from tailor.latency.surface_fitting import FEWEST_NETWORKS, AccountedNetwork, fit_surfaces
from tailor.latency.surface_model import SurfaceTerms
from tailor.profiling.probes import Probed
from tailor.spec import ChannelGraph, Widths

__all__ = ["FittedLatency", "fit_latency"]

_ACCOUNTED_SHARE = 0.8  # of the networks that must have an account before surfaces are fitted to them


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLatency:
    """The better of the two latency models, its held-out error, and the networks with their held-out predictions."""

    terms: FactoredTerms | None
    surfaces: SurfaceTerms | None
    error: FitError
    networks: tuple[NetworkProbe, ...]


def fit_latency(
    graph: ChannelGraph, lone: Mapping[str, LoneLayer], probed: Probed, dense_ns: int, *, batch_size: int, seed: int
) -> FittedLatency:
    """Fit both models to the same networks and keep the one whose held-out predictions are closer on average."""
    samples = [(widths, round(found.ratio * dense_ns), found.noise) for widths, found in probed.times.items()]
    dense = graph.dense_widths
    factored = fit_factored(
        graph.layers, lone, [*samples, (dense, dense_ns, 0.0)], dense=dense, dense_ns=dense_ns, seed=seed
    )
    best = FittedLatency(
        terms=factored.terms,
        surfaces=None,
        error=factored.error,
        networks=_network_probes(samples, factored.predicted_ns[:-1]),
    )
    accounted = [
        AccountedNetwork(widths=widths, ns=ns, noise=noise, account=probed.accounts[widths])
        for widths, ns, noise in samples
        if widths in probed.accounts
    ]
    if len(accounted) < max(FEWEST_NETWORKS, _ACCOUNTED_SHARE * len(samples)):
        return best
    fit = fit_surfaces(graph, accounted, dense_ns=dense_ns, batch_size=batch_size, seed=seed)
    if fit.error.mean >= best.error.mean:
        return best
    return FittedLatency(
        terms=None,
        surfaces=fit.terms,
        error=fit.error,
        networks=_network_probes([(n.widths, n.ns, n.noise) for n in accounted], fit.predicted_ns),
    )


def _network_probes(
    samples: Sequence[tuple[Widths, int, float]], predicted: Sequence[int]
) -> tuple[NetworkProbe, ...]:
    return tuple(
        NetworkProbe(widths=dict(widths), ns=ns, noise=noise, predicted_ns=told)
        for (widths, ns, noise), told in zip(samples, predicted, strict=True)
    )


