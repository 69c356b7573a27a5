"""What an engine says the parts of a running network took, laid at the door of the network's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailor.latency.robust import FloatArray, reweighted
from tailor.records import NodeTime

__all__ = ["LayerAccount", "NetworkAccount", "calibrated", "settle"]

_ROUNDS = 4
_OUTLIER = 0.05
_FEWEST = 3  # accounts that tell how they exceed latencies
_SIGMA = 1.4826  # standard deviations in a median absolute deviation
_FARTHEST = 3.0  # standard deviations that an account is brought at most
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

    def times(self, factor: float) -> NetworkAccount:
        """The same division of another total."""
        layers = {name: replace(account, ns=factor * account.ns) for name, account in self.layers.items()}
        return replace(self, layers=layers, ns=factor * self.ns)

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


def calibrated(accounts: Sequence[NetworkAccount], ns: FloatArray) -> tuple[list[NetworkAccount], float]:
    """The accounts, scaled to the latencies that their networks are known by, and what accounting costs per node (ns).

    An account is taken in a moment of its own, in whichever state the host is then: it tells how a network's time is
    divided among its parts, but not as well as several sessions do how much that is. All together they tell how
    accounts exceed latencies: account = share * latency + cost * nodes. Each is brought onto that line, by three times
    the accounts' scatter about it at most: what is further off is a disturbed latency. Fewer than three stay as they
    are.
    """
    if len(accounts) < _FEWEST:
        return list(accounts), 0.0
    told = np.array([account.ns for account in accounts])
    nodes = np.array([account.nodes for account in accounts])
    share, cost = _excess(told, ns, nodes)
    off = np.log(np.maximum(share * ns + cost * nodes, _LEAST_LEFT * told) / told)
    scatter = _SIGMA * float(np.median(np.abs(off)))
    factors = np.exp(np.clip(off, -_FARTHEST * scatter, _FARTHEST * scatter))
    scaled = [account.times(float(factor)) for account, factor in zip(accounts, factors, strict=True)]
    return scaled, max(0.0, cost)


def _excess(told: FloatArray, ns: FloatArray, nodes: FloatArray) -> tuple[float, float]:
    """Share and cost of that line, by least relative error of the accounts: latencies are known better."""
    columns = np.stack([ns, nodes], axis=1)
    weight = 1 / told
    share, cost = 1.0, 0.0
    for _ in range(_ROUNDS):
        (share, cost), *_ = np.linalg.lstsq(columns * weight[:, None], told * weight, rcond=None)
        weight = reweighted(1 / told, columns @ np.array([share, cost]) / told - 1, _OUTLIER)
    return float(share), float(cost)
