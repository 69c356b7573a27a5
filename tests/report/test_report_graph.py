"""A traced graph as a record: MACs are shared out completely, and nothing is left out."""

import pytest

from tailor.report.graph import graph_summary
from tailor.spec import Axis, ChannelGraph, ChannelGroup, Layer, LayerShape


def conv(name: str, inputs: Axis, outputs: Axis, *, cin: int, cout: int) -> Layer:
    one = (1, 1)
    shape = LayerShape(
        kind="conv", in_channels=cin, out_channels=cout, kernel=(3, 3), stride=one, padding=one, dilation=one,
        spatial=(8, 8),
    )
    return Layer(name=name, shape=shape, inputs=inputs, outputs=outputs)


@pytest.fixture
def graph() -> ChannelGraph:
    groups = (
        ChannelGroup(name="a", width=16),
        ChannelGroup(name="b", width=8, quantum=2, min_width=3, residual=True),
        ChannelGroup(name="c", width=10, pinned="network output"),
    )
    a, both = Axis(fixed=0, terms=(("a", 1),)), Axis(fixed=0, terms=(("a", 1), ("b", 2)))
    layers = (
        conv("first", Axis(fixed=3), a, cin=3, cout=16),
        conv("split", a, both, cin=16, cout=32),
        conv("last", both, Axis(fixed=0, terms=(("c", 1),)), cin=32, cout=10),
    )
    return ChannelGraph(groups=groups, layers=layers, tensors=())


def test_shares_are_the_layers_macs_and_add_up_to_one(graph: ChannelGraph) -> None:
    shares = {group.name: group.share for group in graph_summary(graph).groups}
    macs = {layer.name: layer.shape.macs for layer in graph.layers}
    total = sum(macs.values())
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["a"] == pytest.approx((macs["first"] + macs["split"] / 2) / total)
    assert shares["c"] == pytest.approx(macs["last"] / total)


def test_costs_and_bounds_are_the_graphs_own(graph: ChannelGraph) -> None:
    summary = graph_summary(graph)
    assert (summary.macs, summary.channels, summary.layers) == (graph.macs(graph.dense_widths), 58, 3)
    assert [group.name for group in summary.groups] == ["a", "b", "c"]
    by_name = {group.name: group for group in summary.groups}
    assert by_name["b"].min_width == graph["b"].smallest == 4
    assert by_name["b"].residual
    assert by_name["c"].pinned == "network output"
