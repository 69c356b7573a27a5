"""Which staircases are planned: free axes only, channel counts that the layer can have, shared by equal shapes."""

from __future__ import annotations

import torch
from torch import nn

from tailor.channels import trace
from tailor.engines.subjects import layer_module
from tailor.profiling.stairs import plan_stairs
from tailor.spec import ChannelGraph


def planned(model: nn.Module, **bounds: int) -> tuple[ChannelGraph, dict[tuple[str, str], tuple[int, int, int]]]:
    graph = trace(model.eval(), torch.randn(1, 3, 8, 8), **bounds)  # type: ignore[arg-type]
    plans = plan_stairs(graph)
    found = {(name, p.axis): (p.unit, p.smallest, p.width) for p in plans for name in p.layers}
    for plan in plans:
        for count in range(plan.smallest, plan.width + 1, plan.unit):
            layer_module(plan.at(count))  # every count can be built
        assert plan.at(plan.width) == plan.shape
    return graph, found


def test_pinned_axes_have_no_stairs() -> None:
    _, found = planned(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 5, 1)))
    first, second = (1, 1, 16), (1, 1, 24)
    assert found == {("0", "out"): first, ("1", "in"): first, ("1", "out"): second, ("2", "in"): second}


def test_bounds_and_quanta_of_groups_reach_the_stairs() -> None:
    _, found = planned(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 5, 1)), min_width=5, quantum=4)
    assert found["0", "out"] == (1, 8, 16)


def test_grouped_layers_are_probed_in_whole_blocks_and_depthwise_ones_along_one_axis() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.Conv2d(16, 24, 1, groups=4), nn.Conv2d(24, 24, 3, groups=24), nn.Conv2d(24, 5, 1)
    )
    _, found = planned(model)
    assert found["1", "out"][0] % 4 == 0
    assert found["1", "in"][0] % 4 == 0
    assert ("2", "out") in found
    assert ("2", "in") not in found


def test_flattened_channels_are_probed_in_whole_units() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5))
    _, found = planned(model)
    assert found["3", "in"] == (4, 4, 32)
