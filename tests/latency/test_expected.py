"""Of how long a network's data are evicted its own measurement says nothing: models tell that have not seen it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from planted import lone_of
from planted_accounts import GRAPH, accounted, accounted_truth

from tailor.latency.surface_fitting import AccountedNetwork, SurfaceFit, fit_surfaces
from tailor.profiling import fitting
from tailor.profiling.fitting import fit_latency
from tailor.profiling.networks import NetworkTime
from tailor.profiling.probed import Probed, Said
from tailor.spec import ChannelGraph


def timed(ratio: float) -> NetworkTime:
    """Known to 5 %, as a standard error."""
    return NetworkTime(ratio=ratio, low=0.9 * ratio, high=1.1 * ratio)


def test_latencies_are_expected_by_lone_layers_first_and_then_by_the_first_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, dense_ns = accounted(count=60, noise=0.05), round(accounted_truth(GRAPH, GRAPH.dense_widths))
    fits: list[tuple[Sequence[AccountedNetwork], SurfaceFit]] = []

    def recorded(graph: ChannelGraph, measured: Sequence[AccountedNetwork], **how: int) -> SurfaceFit:
        fits.append((measured, fit_surfaces(graph, measured, **how)))
        return fits[-1][1]

    monkeypatch.setattr(fitting, "fit_surfaces", recorded)
    ratios = [n.ns / dense_ns * (1 + 0.1 * (i % 2)) for i, n in enumerate(networks)]
    sessions = {n.widths: {f"session {i % 2}": timed(ratios[i])} for i, n in enumerate(networks)}
    probed = Probed(
        said={"quiet": Said(sessions=sessions), "usual": Said(sessions=sessions)},
        accounts={n.widths: n.account for n in networks},
    )
    found = fit_latency(GRAPH, lone_of(GRAPH), probed, dense_ns, batch_size=1, seed=0)
    assert found.host_noise > 0  # two sessions in two states: everything is fitted again
    (first, _), (second, last) = fits
    assert all(network.expected_ns != network.ns for network in (*first, *second))
    assert [n.expected_ns for n in second] != [n.expected_ns for n in first]
    truth = {network.widths: network.expected_ns for network in networks}
    off = [[abs(n.expected_ns / truth[n.widths] - 1) for n in each] for each in (first, second)]
    assert sum(off[1]) < sum(off[0])  # surfaces know the planted kernels, lone layers know less
    assert [network.predicted_ns for network in found.networks] == list(last.predicted_ns) or found.blend is not None
