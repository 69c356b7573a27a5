"""Nodes go to the layer whose work they are or follow, nothing is lost, and the cost of accounting is found."""

from __future__ import annotations

import numpy as np
import pytest

from tailor.latency.accounts import LayerAccount, NetworkAccount, calibrated, settle
from tailor.records import NodeTime
from tailor.serialize import decode, encode


def node(layer: str | None, ns: float) -> NodeTime:
    return NodeTime(name=f"node {layer}", layer=layer, kind="x", kernel="", ns=ns)


def test_every_node_goes_to_its_layer_or_the_one_before_and_the_sum_stays() -> None:
    nodes = [node(None, 1), node("a", 10), node(None, 2), node("b", 20), node("no layer", 4), node(None, 8),
             node("a", 100)]
    found = settle(nodes, ["a", "b", "fused away"])
    assert found is not None
    assert found.layers == {"a": LayerAccount(ns=113, nodes=4), "b": LayerAccount(ns=32, nodes=3)}
    assert (found.ns, found.nodes) == (145, 7)
    assert sum(layer.ns for layer in found.layers.values()) == found.ns
    assert decode(encode(found), NetworkAccount) == found


def test_an_account_that_names_no_layer_is_none() -> None:
    assert settle([], ["a"]) is None
    assert settle([node(None, 5), node("other", 5)], ["a"]) is None


def test_the_cost_of_accounting_is_taken_off_but_never_all() -> None:
    layer = LayerAccount(ns=1000, nodes=3)
    assert layer.without(0) == 1000
    assert layer.without(100) == 700
    assert layer.without(1e6) == 150


def accounts(overhead: float, share: float, *, noise: float = 0.0, spoilt: int = 0):  # type: ignore[no-untyped-def]
    """Networks of 10 to 60 nodes whose account exceeds `share` of the latency by `overhead` for each node."""
    draw = np.random.default_rng(0)
    nodes = draw.integers(10, 61, 60)
    work = draw.uniform(50_000, 500_000, 60)
    ns = work / share * (1 + noise * draw.normal(size=60))
    ns[np.argsort(-nodes)[:spoilt]] *= 2  # disturbed: those of the most nodes
    found = [
        NetworkAccount(layers={}, ns=float(spent + overhead * count), nodes=int(count))
        for spent, count in zip(work, nodes, strict=True)
    ]
    return found, ns


@pytest.mark.parametrize("share", [1.0, 0.8])
@pytest.mark.parametrize("overhead", [0.0, 700.0, 3_000.0])
def test_a_planted_overhead_per_node_is_recovered(overhead: float, share: float) -> None:
    assert calibrated(*accounts(overhead, share))[1] == pytest.approx(overhead, abs=1)
    assert calibrated(*accounts(overhead, share, noise=0.01))[1] == pytest.approx(overhead, abs=120)
    assert calibrated(*accounts(overhead, share, noise=0.01, spoilt=5))[1] == pytest.approx(overhead, abs=150)


def test_no_overhead_is_below_nothing_nor_told_from_two_networks() -> None:
    assert calibrated(*accounts(-500.0, 1.0))[1] == 0
    found, ns = accounts(700.0, 1.0)
    assert calibrated(found[:2], ns[:2]) == (found[:2], 0.0)


def test_an_account_tells_how_time_is_divided_and_the_latency_how_much_it_is() -> None:
    """Whatever state the host was in for an account: as a whole it is 20 % off, and accounting costs 4 us a node."""
    draw = np.random.default_rng(1)
    nodes = draw.integers(120, 160, 150)
    parts = draw.uniform(50_000, 1_500_000, (150, 2))
    found = []
    for (first, second), count, slowed in zip(parts, nodes, np.exp(0.2 * draw.normal(size=150)), strict=True):
        layers = {
            "first": LayerAccount(ns=slowed * (first + 4_000 * 40), nodes=40),
            "second": LayerAccount(ns=slowed * (second + 4_000 * (count - 40)), nodes=int(count) - 40),
        }
        ns = sum(layer.ns for layer in layers.values())
        found.append(NetworkAccount(layers=layers, ns=ns, nodes=int(count)))
    scaled, cost = calibrated(found, parts.sum(axis=1))
    assert cost == pytest.approx(4_000, rel=0.2)
    for every, low, high in ((found, 0.1, 1.0), (scaled, 0.0, 0.05)):
        left = np.array([[layer.without(cost) for layer in account.layers.values()] for account in every])
        assert low <= np.mean(np.abs(left.sum(axis=1) / parts.sum(axis=1) - 1)) < high
    parted = parts[:, 0] / parts.sum(axis=1)
    assert np.mean(np.abs(left[:, 0] / left.sum(axis=1) - parted)) < 0.02  # how it is divided, too


def test_a_disturbed_latency_does_not_stretch_the_account() -> None:
    """Accounts scatter by 5 %; where the latency is twice what they say, it is the latency that is wrong."""
    draw = np.random.default_rng(2)
    ns = draw.uniform(1e5, 1e6, 60)
    found = [
        NetworkAccount(layers={"conv": LayerAccount(ns=told, nodes=1)}, ns=told, nodes=1)
        for told in ns * np.exp(0.05 * draw.normal(size=60))
    ]
    scaled, _ = calibrated(found, np.where(np.arange(60) < 5, 2 * ns, ns))
    wrong = np.array([account.ns for account in scaled]) / ns - 1
    assert np.max(np.abs(wrong[:5])) < 0.35
    assert np.max(np.abs(wrong[5:])) < 0.05


def test_accounts_of_one_network_are_averaged_layer_by_layer() -> None:
    def account(ns: float) -> NetworkAccount:
        layers = {"conv": LayerAccount(ns=ns, nodes=2), "fc": LayerAccount(ns=10.0, nodes=1)}
        return NetworkAccount(layers=layers, ns=ns + 10, nodes=3)

    assert account(100.0).averaged(account(400.0), 1 / 3) == account(200.0)
