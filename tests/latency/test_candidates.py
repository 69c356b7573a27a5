"""The shrunk space holds the planted edges and nothing that saves too little; random networks span it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planted import chain, network_truth, stairs_of

from tailor.latency.candidates import axes_of, draw_networks, group_candidates
from tailor.latency.staircase import Point, fit_staircase
from tailor.spec import Axis, ChannelGraph, ChannelGroup, Layer, LayerShape, Widths

GRAPH = chain([32, 48, 64, 64])


def test_candidates_are_the_planted_edges_ascending_dense_last() -> None:
    candidates = group_candidates(GRAPH, stairs_of(GRAPH), 0.003)
    assert {name: widths[-1] for name, widths in candidates.items()} == dict(GRAPH.dense_widths)
    assert candidates["g2"] == (8, 16, 24, 32, 40, 48, 56, 64)
    assert candidates["g1"] == (8, 16, 24, 32, 40, 48)


def test_a_coarser_resolution_shrinks_the_space_further() -> None:
    fine, coarse = (group_candidates(GRAPH, stairs_of(GRAPH), resolution) for resolution in (0.003, 0.09))
    for name in fine:
        assert set(coarse[name]) < set(fine[name])
        assert coarse[name][-1] == fine[name][-1]


def test_pinned_groups_bounds_and_quanta_are_respected() -> None:
    graph = chain([32, 48, 64, 64], pinned=[1])
    bounded = ChannelGraph(
        groups=tuple(
            ChannelGroup(name=g.name, width=g.width, pinned=g.pinned, quantum=10 if g.name == "g2" else 1, min_width=20)
            for g in graph.groups
        ),
        layers=graph.layers,
        tensors=(),
    )
    candidates = group_candidates(bounded, stairs_of(bounded), 0.003)
    assert candidates["g1"] == (48,)
    assert candidates["g3"] == (24, 32, 40, 48, 56, 64)
    assert candidates["g2"] == (20, 30, 40, 50, 64)  # 24, 32, 40, 56 rounded down; 48 becomes 40 again
    for group in bounded.groups:
        assert all(group.allows(width) for width in candidates[group.name])


def test_flat_stairs_leave_the_dense_width_alone() -> None:
    flat = fit_staircase([Point(channels=c, ns=1000, noise=0.001) for c in range(1, 65)], 0.003)
    candidates = group_candidates(GRAPH, dict.fromkeys(stairs_of(GRAPH), flat), 0.003)
    assert all(len(widths) == 1 for widths in candidates.values())
    assert group_candidates(GRAPH, {}, 0.003) == {g.name: (g.width,) for g in GRAPH.groups}


def test_edges_in_channels_become_units_with_other_groups_in_front() -> None:
    """A concat of 16 fixed channels, a group of 2 channels per unit, and another group: edges shift and scale."""
    shape = LayerShape(
        kind="conv", in_channels=16 + 2 * 24 + 16, out_channels=8, kernel=(1, 1), stride=(1, 1), padding=(0, 0),
        dilation=(1, 1), spatial=(4, 4),
    )
    layer = Layer(
        name="mix", shape=shape, inputs=Axis(fixed=16, terms=(("a", 2), ("b", 1))), outputs=Axis(fixed=8)
    )
    graph = ChannelGraph(
        groups=(ChannelGroup(name="a", width=24), ChannelGroup(name="b", width=16)), layers=(layer,), tensors=()
    )
    points = [Point(channels=c, ns=1000 * -(-c // 16), noise=0.001) for c in range(17, 81)]
    candidates = group_candidates(graph, {("mix", "in"): fit_staircase(points, 0.003)}, 0.003)
    assert candidates["a"] == (8, 16, 24)  # 32 others in front: 48, 64 and 80 channels
    assert candidates["b"] == (16,)  # 64 others in front, and the edge at 64 would leave none


def test_depthwise_layers_have_one_axis() -> None:
    shape = LayerShape(
        kind="conv", in_channels=8, out_channels=8, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1),
        groups=8, spatial=(4, 4),
    )
    axis = Axis(fixed=0, terms=(("a", 1),))
    assert [name for name, _ in axes_of(Layer(name="dw", shape=shape, inputs=axis, outputs=axis))] == ["out"]
    assert [name for name, _ in axes_of(GRAPH.layers[1])] == ["out", "in"]


def test_drawn_networks_are_distinct_seeded_allowed_and_span_the_space() -> None:
    candidates = group_candidates(GRAPH, stairs_of(GRAPH), 0.003)
    networks = draw_networks(GRAPH, candidates, 100, seed=1)
    assert networks == draw_networks(GRAPH, candidates, 100, seed=1) != draw_networks(GRAPH, candidates, 100, seed=2)
    assert len(set(networks)) == 100
    assert networks[0] == Widths({group: widths[0] for group, widths in candidates.items()})
    assert GRAPH.dense_widths not in networks
    assert all(group.allows(network[group.name]) for network in networks for group in GRAPH.groups)
    assert min(network["g3"] for network in networks) >= 6  # a tenth of 64


def test_half_the_drawn_networks_are_candidates_and_half_have_any_widths() -> None:
    candidates = group_candidates(GRAPH, stairs_of(GRAPH), 0.003)
    networks = draw_networks(GRAPH, candidates, 100, seed=1)
    searched = [n for n in networks if all(n[group] in widths for group, widths in candidates.items())]
    assert 45 <= len(searched) <= 65
    assert {network["g3"] % 8 for network in networks if network not in searched} == set(range(8))


def test_pinned_groups_keep_their_width_and_quanta_hold_in_every_drawn_network() -> None:
    graph = chain([32, 48, 64], pinned=[1])
    coarse = replace(graph, groups=(*graph.groups[:2], replace(graph.groups[2], quantum=8, min_width=24)))
    networks = draw_networks(coarse, {"g0": (16, 32), "g1": (48,), "g2": (32, 64)}, 60, seed=0)
    assert {network["g1"] for network in networks} == {48}
    assert {network["g2"] for network in networks} == {24, 32, 40, 48, 56, 64}


def test_networks_of_many_groups_range_from_deep_cuts_to_almost_dense() -> None:
    """Independent widths in 20 groups would all cost between 0.3 and 0.5 of the dense network."""
    graph = chain([64] * 20)
    networks = draw_networks(graph, {g.name: tuple(range(8, 65, 8)) for g in graph.groups}, 100, seed=1)
    dense = network_truth(graph, graph.dense_widths)
    costs = sorted(network_truth(graph, network) / dense for network in networks)
    assert costs[10] < 0.2
    assert costs[-10] > 0.7


@pytest.mark.parametrize(("count", "drawn"), [(3, 3), (50, 7)])
def test_a_small_space_is_drawn_empty_and_no_further(count: int, drawn: int) -> None:
    graph = chain([4, 2, 7], pinned=[2])
    networks = draw_networks(graph, {"g0": (2, 4), "g1": (2,), "g2": (7,)}, count, seed=0)
    assert len(set(networks)) == len(networks) == drawn
    assert graph.dense_widths not in networks
    pinned = chain([8], pinned=[0])
    assert draw_networks(pinned, {"g0": (8,)}, count, seed=0) == ()
