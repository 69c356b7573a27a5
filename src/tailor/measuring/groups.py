"""What each channel group takes of a network's latency, and what the narrowest networks that may be built take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.latency.accounts import settle
from tailor.measuring.narrow import LEAST, fastest, narrow_subjects
from tailor.profiling.networks import build_widths
from tailor.records import GroupLatencies, NodeTime, TimingSettings
from tailor.spec import ChannelGraph, Target

__all__ = ["group_latencies"]

_NODE_CALLS = 20


def group_latencies(
    model: nn.Module, graph: ChannelGraph, example_inputs: Any, target: Target, settings: TimingSettings
) -> GroupLatencies:
    """Time dense and narrowest networks in the same rounds, and let the engine account for the dense one's parts.

    A layer's part is shared among the groups of its output channels, as its MACs are.

    Raises:
        MeasurementError: one of the networks does not run on the target.
    """
    device = open_device(target)
    dense = network_subject("dense", model, example_inputs, target.batch_size)
    versions = dict.fromkeys(graph.narrowest(least) for least in LEAST)
    narrow = narrow_subjects([build_widths(model, graph, widths) for widths in versions], example_inputs, target)
    found = fastest(device, dense, narrow, settings)
    try:
        nodes: Sequence[NodeTime] = device.node_times(dense, _NODE_CALLS)
    except MeasurementError:  # it was timed: an account that fails is only not there
        nodes = ()
    return GroupLatencies(target=target, dense=found.second, narrowest=found.ratio, shares=_shares(graph, nodes))


def _shares(graph: ChannelGraph, nodes: Sequence[NodeTime]) -> Mapping[str, float] | None:
    account = settle(nodes, [layer.name for layer in graph.layers])
    if account is None or not account.ns:
        return None
    dense = graph.dense_widths
    shares: defaultdict[str, float] = defaultdict(float)
    for layer in graph.layers:
        own, channels = account.layers.get(layer.name), layer.outputs.size(dense)
        for group, per_unit in layer.outputs.terms:
            shares[group] += own.ns / account.ns * per_unit * dense[group] / channels if own is not None else 0.0
    return dict(shares)
