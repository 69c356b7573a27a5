"""Planted kernels, caches and accounting costs are learned from whole networks; the held-out error tells the truth."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import numpy as np
import pytest
from planted import chain
from planted_accounts import GRAPH, OVERHEAD, accounted, accounted_truth, evicting, pooling

from tailor.errors import MeasurementError
from tailor.latency.accounts import LayerAccount, NetworkAccount
from tailor.latency.surface_fitting import AccountedNetwork, SurfaceFit, fit_surfaces
from tailor.latency.surface_model import SurfaceLatency
from tailor.spec import ChannelGraph, Widths

DENSE_NS = round(accounted_truth(GRAPH, GRAPH.dense_widths))


def fit(measured: list[AccountedNetwork], graph: ChannelGraph = GRAPH, seed: int = 0) -> SurfaceFit:
    return fit_surfaces(graph, measured, dense_ns=DENSE_NS, seed=seed)


@functools.cache
def fitted() -> SurfaceFit:
    return fit(accounted())


def errors_on_unseen(found: SurfaceFit, noise: float = 0.0) -> np.ndarray:
    latency, unseen = SurfaceLatency(found.terms), accounted(count=100, noise=noise, seed=99)
    return np.array([latency.predict(network.widths).ns / network.ns - 1 for network in unseen])


def test_the_planted_device_is_recovered_on_unseen_widths() -> None:
    errors = np.abs(errors_on_unseen(fitted()))
    assert errors.mean() < 0.01
    assert errors.max() < 0.06
    assert all("inputs multiple of 8" in map(str, surface.rules) for surface in fitted().terms.surfaces)
    assert fitted().error.kendall_tau > 0.95
    assert fitted().error.networks == 100
    assert fitted().terms.dense_ns == DENSE_NS


def test_what_others_evict_while_a_network_runs_is_told_by_how_long_it_takes() -> None:
    found = fit(evicting(accounted()))
    latency, unseen = SurfaceLatency(found.terms), evicting(accounted(count=100, noise=0.0, seed=99))
    errors = np.array([latency.predict(network.widths).ns / network.ns - 1 for network in unseen])
    assert np.abs(errors).mean() < 0.01
    assert found.error.mean == pytest.approx(np.abs(errors).mean(), abs=0.006)  # told without their own latencies
    assert lost(latency) > 0.5 * (8_000 + 3 * 32 * 48)


def test_noise_in_a_latency_does_not_explain_itself() -> None:
    """Where a network's own latency said for how long its data are evicted, slow moments would look like eviction."""
    draw, true = random.Random(0), evicting(accounted(noise=0.0))
    noisy = [replace(network, ns=round(network.ns * (1 + 0.15 * draw.gauss(0, 1))), noise=0.15) for network in true]
    believed = [replace(network, expected_ns=network.ns) for network in noisy]
    planted = 8_000 + 3 * 32 * 48

    def off(measured: list[AccountedNetwork]) -> float:
        return abs(lost(SurfaceLatency(fit(measured).terms)) / planted - 1)

    assert off(noisy) < 0.5 * off(believed)


def lost(latency: SurfaceLatency) -> float:
    """What one layer takes more of in a wide network than in a narrow one, in ns."""
    narrow, wide = (Widths(dict.fromkeys(GRAPH.dense_widths, width)) for width in (16, 128))
    return latency.layer_ns(2, 32, 48, wide) - latency.layer_ns(2, 32, 48, narrow)


def test_twenty_networks_are_enough_and_fewer_are_refused() -> None:
    assert np.abs(errors_on_unseen(fit(accounted(count=20)))).mean() < 0.06
    with pytest.raises(MeasurementError, match="need 20 measured networks, not 19"):
        fit(accounted(count=19))


def test_the_interval_holds_nine_of_ten_unseen_networks() -> None:
    found = fit(accounted(noise=0.02))
    latency, inside = SurfaceLatency(found.terms), 0
    unseen = accounted(count=100, noise=0.02, seed=99)
    for network in unseen:
        told = latency.predict(network.widths)
        inside += told.low_ns <= network.ns <= told.high_ns
    assert inside >= 85
    assert np.mean([band.q90 for band in found.terms.bands]) < 0.06
    assert [band.ns for band in found.terms.bands] == sorted(band.ns for band in found.terms.bands)


def test_the_held_out_error_is_that_of_networks_never_seen() -> None:
    found = fit(accounted(noise=0.03))
    assert found.error.mean == pytest.approx(np.abs(errors_on_unseen(found, noise=0.03)).mean(), rel=0.4)
    assert found.error.mean == pytest.approx(
        np.mean([abs(told / n.ns - 1) for told, n in zip(found.predicted_ns, accounted(noise=0.03), strict=True)]),
        rel=1e-3,
    )


def test_of_pure_noise_nothing_is_learned_and_the_error_says_so() -> None:
    draw = random.Random(1)
    noise = [replace(network, ns=round(DENSE_NS * draw.uniform(0.5, 2))) for network in accounted()]
    found = fit(noise)
    assert found.error.mean > 0.25
    assert abs(found.error.kendall_tau) < 0.3
    assert min(band.q90 for band in found.terms.bands) > 0.2


def test_what_accounting_costs_is_found_and_taken_off() -> None:
    """An account that says more than the network takes, by 600 ns per node: the planted constant is part of it."""
    def without_constant(network: AccountedNetwork) -> AccountedNetwork:
        return replace(network, ns=round((network.ns - 20_000) / 1.05))

    found = fit([without_constant(network) for network in accounted(noise=0.002)])
    assert found.terms.overhead_ns == pytest.approx(OVERHEAD, rel=0.15)
    assert found.terms.scales == pytest.approx([1.0] * len(found.terms.scales), abs=0.03)


def test_disturbed_networks_hardly_count() -> None:
    spoilt = [replace(n, ns=2 * n.ns) if i % 10 == 0 else n for i, n in enumerate(accounted())]
    assert np.abs(errors_on_unseen(fit(spoilt))).mean() < 0.02


def test_the_same_seed_gives_the_same_fit() -> None:
    assert fit(accounted()) == fitted()
    assert fit(accounted(), seed=1).predicted_ns != fitted().predicted_ns


def test_layers_that_differ_in_channels_alone_share_a_surface_but_not_across_residual_streams() -> None:
    def kinds(graph: ChannelGraph) -> list[int]:
        found = fit(accounted(graph, 20), graph)
        return [layer.surface for layer in found.terms.layers]

    graph = chain([16, 16, 16, 16, 16, 16])
    assert kinds(graph) == [0, 0, 0, 1, 1, 1]
    stream = replace(graph, groups=tuple(replace(g, residual=g.name == "g4") for g in graph.groups))
    assert kinds(stream) == [0, 0, 0, 1, 2, 3]


def test_what_follows_some_layers_of_a_kind_is_told_by_their_nodes() -> None:
    """Pools that are nodes of their own; where an engine hides them in their layer, all layers share what they take."""

    def off(nodes: int) -> float:
        found = fit(pooling(accounted(), nodes=nodes))
        latency = SurfaceLatency(found.terms)
        unseen = pooling(accounted(count=100, noise=0.0, seed=99), nodes=nodes)
        followed = [layer.followed for layer in found.terms.layers]
        assert followed[1:] == [bool(nodes), False] * (len(GRAPH.layers) // 2 - 1) + [bool(nodes)]
        return float(np.mean([abs(latency.predict(network.widths).ns / network.ns - 1) for network in unseen]))

    told, hidden = off(1), off(0)
    assert told < 0.01
    assert hidden > 0.015


def test_nodes_that_a_layer_needs_at_some_widths_alone_say_nothing_of_what_follows_it() -> None:
    def reordered(network: AccountedNetwork) -> AccountedNetwork:
        own = network.account.layers["conv1"]
        layers = {**network.account.layers, "conv1": replace(own, nodes=own.nodes + 1)}
        return replace(network, account=replace(network.account, layers=layers))

    measured = [reordered(network) if place % 3 else network for place, network in enumerate(accounted())]
    assert not any(layer.followed for layer in fit(measured).terms.layers[1:])


def test_a_layer_that_the_engine_never_names_is_priced_by_its_kind_or_by_what_the_networks_take() -> None:
    def hidden(network: AccountedNetwork, *names: str) -> AccountedNetwork:
        layers = {name: found for name, found in network.account.layers.items() if name not in names}
        return replace(network, account=replace(network.account, layers=layers))

    one = fit([hidden(network, "conv4") for network in accounted()])
    assert np.abs(errors_on_unseen(one)).mean() < 0.01
    kind = fit([hidden(network, "conv3", "conv4", "conv5") for network in accounted()])
    assert kind.terms.surfaces[1].coefficients is None
    assert np.isfinite(kind.error.mean)
    assert np.isfinite(errors_on_unseen(kind)).all()


def test_accounts_below_what_a_clock_can_tell_are_left_out() -> None:
    nothing = LayerAccount(ns=0.0, nodes=1)
    silent = [
        replace(n, account=NetworkAccount(layers={**n.account.layers, "conv4": nothing}, ns=n.account.ns, nodes=1))
        if number < 5 else n
        for number, n in enumerate(accounted())
    ]
    assert np.abs(errors_on_unseen(fit(silent))).mean() < 0.03


def test_nothing_is_negative_and_the_narrowest_widths_are_remembered() -> None:
    terms, measured = fitted().terms, accounted()
    assert min(*terms.scales, terms.traffic_ns, terms.constant_ns, terms.overhead_ns, *terms.footprint_ns) >= 0
    assert terms.narrowest == {g.name: min(n.widths[g.name] for n in measured) for g in GRAPH.groups}
    narrow = Widths({g.name: 1 for g in GRAPH.groups})
    assert SurfaceLatency(terms).predict(narrow).ns > 0
