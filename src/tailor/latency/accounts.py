"""What an engine says the parts of a running network took, laid at the door of the network's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailor.latency.robust import FloatArray, reweighted
from tailor.records import NodeTime

__all__ = ["LayerAccount", "NetworkAccount", "node_overhead", "settle"]

_ROUNDS = 4
_OUTLIER = 0.05
_LEAST_LEFT = 0.15  # of a layer's account that stays when the cost of accounting is taken off


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerAccount:
    """What one layer took in ns with the work that follows it, and how many nodes of the running network that was."""

    ns: float
    nodes: int

    def without(self, overhead: float) -> float:
        """The ns less what accounting itself cost per node; never less than a small share."""
        return max(self.ns - overhead * self.nodes, _LEAST_LEFT * self.ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAccount:
    """One network's layers by name; `ns` and `nodes` are the whole account."""

    layers: Mapping[str, LayerAccount]
    ns: float
    nodes: int

    def averaged(self, other: NetworkAccount, share: float) -> NetworkAccount:
        """This account with a share (0 to 1) of another one of the same network mixed in."""
        layers = {
            name: replace(account, ns=_mixed(account.ns, other.layers[name].ns, share))
            for name, account in self.layers.items()
            if name in other.layers
        }
        return replace(self, layers=layers, ns=_mixed(self.ns, other.ns, share))


def _mixed(first: float, second: float, share: float) -> float:
    return first + share * (second - first)


def settle(nodes: Sequence[NodeTime], layers: Sequence[str]) -> NetworkAccount | None:
    """Each node goes to the layer whose work it is, else to the layer before it; None when no layer is found.

    A layout change, a norm or an addition that follows a layer costs what that layer's outputs make it cost.
    """
    known = set(layers)
    owners: list[str | None] = []
    last: str | None = None
    for node in nodes:
        last = node.layer if node.layer in known else last
        owners.append(last)
    first = next((owner for owner in owners if owner is not None), None)
    if first is None:
        return None
    spent: dict[str, float] = {}
    counts: dict[str, int] = {}
    for node, owner in zip(nodes, owners, strict=True):
        name = owner or first
        spent[name] = spent.get(name, 0.0) + node.ns
        counts[name] = counts.get(name, 0) + 1
    return NetworkAccount(
        layers={name: LayerAccount(ns=spent[name], nodes=counts[name]) for name in spent},
        ns=sum(spent.values()),
        nodes=len(nodes),
    )


def node_overhead(accounts: Sequence[NetworkAccount], ns: FloatArray) -> float:
    """What accounting costs per node in ns: how much the accounts exceed the latency `ns` as nodes are added."""
    columns = np.array([(account.ns, -account.nodes) for account in accounts])
    if len(accounts) < 3:
        return 0.0
    weight = 1 / ns
    share, cost = 1.0, 0.0
    for _ in range(_ROUNDS):
        (share, cost), *_ = np.linalg.lstsq(columns * weight[:, None], ns * weight, rcond=None)
        weight = reweighted(1 / ns, columns @ np.array([share, cost]) / ns - 1, _OUTLIER)
    return float(max(0.0, cost / share)) if share > 0 else 0.0
