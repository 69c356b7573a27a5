"""Whole networks with the accounts that an engine would give: kernel regimes, caches, and a cost of accounting."""

from __future__ import annotations

import functools
import math
import random
from dataclasses import replace

import numpy as np
from planted import chain, padded

from tailor.latency.accounts import LayerAccount, NetworkAccount
from tailor.latency.basis import EVICTION_STEPS, eviction_share
from tailor.latency.eviction import settled_ns
from tailor.latency.surface_fitting import AccountedNetwork, fit_surfaces
from tailor.latency.surface_model import SurfaceTerms
from tailor.spec import Axis, ChannelGraph, ChannelGroup, Layer, LayerShape, Widths

OVERHEAD = 600.0  # ns that accounting costs per node
GRAPH = chain([48, 64, 96, 128, 128, 128])


def megabytes(graph: ChannelGraph, widths: Widths) -> float:
    """Weights of the network and all it writes, in 4-byte numbers."""
    weights = sum(x.inputs.size(widths) * x.outputs.size(widths) * math.prod(x.shape.kernel) for x in graph.layers)
    return 4e-6 * (weights + sum(x.outputs.size(widths) * math.prod(x.shape.output_spatial) for x in graph.layers))


def layer_truth(layer: Layer, widths: Widths, weights: float) -> float:
    """One layer inside a network: another kernel for inputs that are no multiple of 8, data beyond 1 to 2 MB."""
    inputs, outputs = layer.inputs.size(widths), layer.outputs.size(widths)
    work = 0.02 * 9 * math.prod(layer.shape.spatial) * padded(outputs)
    kernel = 3_000 + work * (inputs if inputs == 3 or inputs % 8 == 0 else 1.7 * inputs)
    return kernel + 3 * inputs * outputs * min(max(weights - 1, 0.0), 1.0)


def trailing_truth(layer: Layer, widths: Widths) -> float:
    """The norm that follows."""
    return 500 + 1.5 * layer.outputs.size(widths) * math.prod(layer.shape.spatial)


def accounted_truth(graph: ChannelGraph, widths: Widths) -> float:
    """Nanoseconds of the whole network: its layers and norms 5 % above their account, and a constant."""
    weights = megabytes(graph, widths)
    spent = sum(layer_truth(layer, widths, weights) + trailing_truth(layer, widths) for layer in graph.layers)
    return 20_000 + 1.05 * spent


def account(graph: ChannelGraph, widths: Widths) -> NetworkAccount:
    """Two nodes for each layer and four where its inputs need other kernels, each longer by the cost of accounting."""
    weights, layers = megabytes(graph, widths), {}
    for x in graph.layers:
        nodes = 4 if x.inputs.size(widths) % 8 else 2
        ns = layer_truth(x, widths, weights) + trailing_truth(x, widths) + nodes * OVERHEAD
        layers[x.name] = LayerAccount(ns=ns, nodes=nodes)
    found = layers.values()
    return NetworkAccount(layers=layers, ns=sum(x.ns for x in found), nodes=sum(x.nodes for x in found))


def accounted(
    graph: ChannelGraph = GRAPH, count: int = 100, *, noise: float = 0.005, seed: int = 0
) -> list[AccountedNetwork]:
    """Networks of random widths, every other of multiples of 8, deep cuts to almost dense, with noisy latency."""
    draw, found = random.Random(seed), []
    for number in range(count):
        share = draw.uniform(0.1, 1)
        widths = {g.name: max(4, round(g.width * min(1.0, share * draw.uniform(0.5, 1.5)))) for g in graph.groups}
        widths = widths if number % 2 else {name: padded(width) for name, width in widths.items()}
        network = Widths(widths)
        true_ns = accounted_truth(graph, network)
        found.append(
            AccountedNetwork(
                widths=network, ns=round(true_ns * (1 + noise * draw.gauss(0, 1))), noise=max(noise, 1e-3),
                account=account(graph, network), expected_ns=round(true_ns),
            )
        )
    return found


@functools.cache
def fitted_surfaces() -> SurfaceTerms:
    """What is fitted on these networks, some seconds of work: once for all tests of a process."""
    return fit_surfaces(GRAPH, accounted(), dense_ns=round(accounted_truth(GRAPH, GRAPH.dense_widths))).terms


def evicting(networks: list[AccountedNetwork], graph: ChannelGraph = GRAPH) -> list[AccountedNetwork]:
    """The same on a host where others evict a network's data while it takes 0.25 to 0.5 ms: each layer takes longer.

    Whatever the layer, 8 microseconds, and 3 ns per input and output.
    """
    step, found = 1, []
    for network in networks:
        lost = {}
        for layer in graph.layers:
            inputs, outputs = layer.inputs.size(network.widths), layer.outputs.size(network.widths)
            lost[layer.name] = 8_000 + 3 * inputs * outputs
        costs = [0.0] * len(EVICTION_STEPS)
        costs[step] = sum(lost.values())
        ns, expected = (round(settled_ns(warm, costs)) for warm in (network.ns, network.expected_ns))
        share = float(eviction_share(step, np.array([expected / 1e6]))[0])
        layers = {
            name: replace(account, ns=account.ns + share * lost[name] / 1.05)
            for name, account in network.account.layers.items()
        }
        whole = replace(network.account, layers=layers, ns=sum(account.ns for account in layers.values()))
        found.append(replace(network, ns=ns, expected_ns=expected, account=whole))
    return found


def pooling(networks: list[AccountedNetwork], graph: ChannelGraph = GRAPH, *, nodes: int = 1) -> list[AccountedNetwork]:
    """The same with a pool behind every second layer: 300 ns per output, in so many more nodes."""
    found = []
    for network in networks:
        spent = {layer.name: 300.0 * layer.outputs.size(network.widths) for layer in graph.layers[1::2]}
        layers = {
            name: replace(account, ns=account.ns + spent[name] + nodes * OVERHEAD, nodes=account.nodes + nodes)
            if name in spent
            else account
            for name, account in network.account.layers.items()
        }
        every = layers.values()
        whole = NetworkAccount(layers=layers, ns=sum(x.ns for x in every), nodes=sum(x.nodes for x in every))
        added = round(1.05 * sum(spent.values()))
        found.append(
            replace(network, ns=network.ns + added, expected_ns=network.expected_ns + added, account=whole)
        )
    return found


def concatenated() -> ChannelGraph:
    """Three branches behind the stem, joined and read by one layer, which three groups and the stem's feed."""
    base = chain([32, 32, 48, 64]).layers

    def conv(name: str, reads: Axis, writes: str, inputs: int, outputs: int) -> Layer:
        shape: LayerShape = replace(base[0].shape, in_channels=inputs, out_channels=outputs)
        return Layer(name=name, shape=shape, inputs=reads, outputs=Axis(fixed=0, terms=((writes, 1),)))

    stem = Axis(fixed=0, terms=(("stem", 1),))
    joined = Axis(fixed=8, terms=(("a", 1), ("b", 1), ("z", 2)))
    return ChannelGraph(
        groups=tuple(
            ChannelGroup(name=name, width=width)
            for name, width in (("stem", 32), ("a", 32), ("b", 48), ("z", 16), ("out", 64))
        ),
        layers=(
            conv("stem", Axis(fixed=3), "stem", 3, 32),
            conv("a", stem, "a", 32, 32),
            conv("b", stem, "b", 32, 48),
            conv("c", stem, "z", 32, 16),
            conv("mix", joined, "out", 120, 64),
        ),
        tensors=(),
    )
