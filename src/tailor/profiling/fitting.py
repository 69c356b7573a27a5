"""Fits both latency models to what was measured, and keeps the mean of them that predicts unseen networks best.

A first fit tells what the host's state added in each session, and about what each network takes; the second is to the
ratios without that, and reads from it for how long a network's data are evicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailor.latency.accounts import NetworkAccount
from tailor.latency.blended import Blend, BlendedLatency, best_blend, latency_model
from tailor.latency.factored import FactoredLatency, FactoredTerms, FitError, LoneLayer
from tailor.latency.fitting import fit_error, fit_factored
from tailor.latency.profile import NetworkProbe
from tailor.latency.surface_fitting import FEWEST_NETWORKS, AccountedNetwork, fit_surfaces
from tailor.latency.surface_model import SurfaceLatency, SurfaceTerms
from tailor.profiling.networks import NetworkTime
from tailor.profiling.probed import Probed
from tailor.spec import ChannelGraph, Widths

__all__ = ["FittedLatency", "fit_latency", "held_out_error"]

_ACCOUNTED_SHARE = 0.8  # of the networks that must have an account before surfaces are fitted to them


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLatency:
    """What predicts unseen networks best, its held-out error, and the networks with their held-out predictions.

    `host_noise` is the root mean square of what the host's state in a session added to ratios; it is not in the error.
    """

    terms: FactoredTerms | None
    surfaces: SurfaceTerms | None
    blend: Blend | None
    error: FitError
    networks: tuple[NetworkProbe, ...]
    host_noise: float = 0.0

    @property
    def latency(self) -> FactoredLatency | SurfaceLatency | BlendedLatency:
        """The latency model."""
        return latency_model(self.surfaces, self.terms, self.blend)


def fit_latency(
    graph: ChannelGraph, lone: Mapping[str, LoneLayer], probed: Probed, dense_ns: int, *, batch_size: int, seed: int
) -> FittedLatency:
    """Fit both models to the same networks and keep the mean of them whose held-out predictions are closest.

    The share of each is chosen by the mean relative error on networks that neither has seen; it may be all. The stated
    error is that of the same networks: one number was chosen by hundreds of them. Latencies are those of the host's
    mean state in all sessions.
    """
    how = _How(graph=graph, lone=lone, accounts=probed.accounts, dense_ns=dense_ns, batch_size=batch_size, seed=seed)
    first = how.fitted(probed.times)
    expected = {Widths(network.widths): network.predicted_ns for network in first.networks}
    steady, host_noise = probed.steadied({widths: ns / dense_ns for widths, ns in expected.items()})
    return replace(how.fitted(steady, expected), host_noise=host_noise) if host_noise else first


def held_out_error(
    graph: ChannelGraph, lone: Mapping[str, LoneLayer], times: Mapping[Widths, NetworkTime], dense_ns: int, *, seed: int
) -> float:
    """Mean relative error of what the lone layers tell of networks that the fit has not seen: quick to compute."""
    samples = [(widths, round(found.ratio * dense_ns), found.noise) for widths, found in times.items()]
    return fit_factored(
        graph.layers, lone, samples, dense=graph.dense_widths, dense_ns=dense_ns, seed=seed
    ).error.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """Everything that a fit needs beside the networks' ratios."""

    graph: ChannelGraph
    lone: Mapping[str, LoneLayer]
    accounts: Mapping[Widths, NetworkAccount]
    dense_ns: int
    batch_size: int
    seed: int

    def fitted(
        self, times: Mapping[Widths, NetworkTime], expected: Mapping[Widths, int] | None = None
    ) -> FittedLatency:
        """Both models, fitted to these; `expected` is what an earlier fit told of them in ns, else lone layers do."""
        dense, dense_ns = self.graph.dense_widths, self.dense_ns
        samples = [(widths, round(found.ratio * dense_ns), found.noise) for widths, found in times.items()]
        factored = fit_factored(
            self.graph.layers, self.lone, [*samples, (dense, dense_ns, 0.0)], dense=dense, dense_ns=dense_ns,
            seed=self.seed,
        )  # fmt: skip
        alone = FittedLatency(
            terms=factored.terms,
            surfaces=None,
            blend=None,
            error=factored.error,
            networks=_network_probes(samples, factored.predicted_ns[:-1]),
        )
        places = [place for place, (widths, _, _) in enumerate(samples) if widths in self.accounts]
        if len(places) < max(FEWEST_NETWORKS, _ACCOUNTED_SHARE * len(samples)):
            return alone
        accounted = [samples[place] for place in places]
        theirs = [factored.predicted_ns[place] for place in places]
        told = theirs if expected is None else [expected[widths] for widths, _, _ in accounted]
        fit = fit_surfaces(
            self.graph,
            [
                AccountedNetwork(widths=w, ns=ns, noise=noise, account=self.accounts[w], expected_ns=own)
                for (w, ns, noise), own in zip(accounted, told, strict=True)
            ],
            dense_ns=dense_ns,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        measured = np.array([float(ns) for _, ns, _ in accounted])
        ours = np.array(fit.predicted_ns, dtype=float)
        blend, predicted = best_blend(ours, np.array(theirs, dtype=float), measured)
        if not blend.share:
            return alone
        return FittedLatency(
            terms=factored.terms if blend.share < 1 else None,
            surfaces=fit.terms,
            blend=blend if blend.share < 1 else None,
            error=fit_error(predicted, measured),
            networks=_network_probes(accounted, [round(value) for value in predicted]),
        )


def _network_probes(
    samples: Sequence[tuple[Widths, int, float]], predicted: Sequence[int]
) -> tuple[NetworkProbe, ...]:
    return tuple(
        NetworkProbe(widths=dict(widths), ns=ns, noise=noise, predicted_ns=told)
        for (widths, ns, noise), told in zip(samples, predicted, strict=True)
    )


