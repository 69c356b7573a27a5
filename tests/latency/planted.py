"""A chain of convolutions without a framework, and a device whose true latency is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tailor.latency.factored import LoneLayer, lone_layer
from tailor.latency.staircase import Point, Staircase, fit_staircase
from tailor.spec import Axis, ChannelGraph, ChannelGroup, Layer, LayerShape, Widths

BLOCK = 8  # the planted device pads to this many channels


def chain(widths: Sequence[int], *, pinned: Sequence[int] = ()) -> ChannelGraph:
    """Groups g0, g1 ... in a row: layer i reads group i - 1 (the first: 3 channels) and writes group i."""
    groups = tuple(
        ChannelGroup(name=f"g{i}", width=width, pinned="planted" if i in pinned else None)
        for i, width in enumerate(widths)
    )
    layers = []
    for i, width in enumerate(widths):
        before = widths[i - 1] if i else 3
        shape = LayerShape(
            kind="conv", in_channels=before, out_channels=width, kernel=(3, 3), stride=(1, 1), padding=(1, 1),
            dilation=(1, 1), spatial=(16, 16) if i < len(widths) // 2 else (8, 8),
        )
        inputs = Axis(fixed=0, terms=((f"g{i - 1}", 1),)) if i else Axis(fixed=3)
        layers.append(Layer(name=f"conv{i}", shape=shape, inputs=inputs, outputs=Axis(fixed=0, terms=((f"g{i}", 1),))))
    return ChannelGraph(groups=groups, layers=tuple(layers), tensors=())


def padded(count: int) -> int:
    """Channels as the planted device computes them."""
    return -(-count // BLOCK) * BLOCK


def lone_truth(shape: LayerShape, in_channels: int, out_channels: int) -> float:
    """Nanoseconds of one layer: overhead and a padded product, but three input channels are not padded."""
    inputs = in_channels if in_channels == 3 else padded(in_channels)
    return 4_000 + 0.02 * inputs * padded(out_channels) * 9 * math.prod(shape.spatial)


def network_truth(graph: ChannelGraph, widths: Widths) -> float:
    """Nanoseconds of the network: its layers, what norms and activations touch, and a constant."""
    total = 50_000.0
    for layer in graph.layers:
        inputs, outputs = layer.inputs.size(widths), layer.outputs.size(widths)
        total += 1.1 * lone_truth(layer.shape, inputs, outputs) + 1.5 * outputs * math.prod(layer.shape.spatial)
    return total


def stair(layer: Layer, axis: str, resolution: float = 0.004) -> Staircase:
    """The layer's true staircase, probed at every fourth channel and beside each block."""
    shape = layer.shape
    width = shape.out_channels if axis == "out" else shape.in_channels
    counts = {1, width, *range(4, width, 4), *range(BLOCK + 1, width, BLOCK)}
    points = []
    for count in sorted(counts):
        sizes = (shape.in_channels, count) if axis == "out" else (count, shape.out_channels)
        points.append(Point(channels=count, ns=round(lone_truth(shape, *sizes)), noise=0.001))
    return fit_staircase(points, resolution)


def stairs_of(graph: ChannelGraph) -> dict[tuple[str, str], Staircase]:
    """Both staircases of every layer, but for the axis of the three input channels."""
    return {
        (layer.name, axis): stair(layer, axis)
        for layer in graph.layers
        for axis in ("in", "out")
        if (layer.inputs if axis == "in" else layer.outputs).terms
    }


def lone_of(graph: ChannelGraph) -> dict[str, LoneLayer]:
    """What the planted device says about every layer alone."""
    stairs = stairs_of(graph)
    return {
        layer.name: lone_layer(
            round(lone_truth(layer.shape, layer.shape.in_channels, layer.shape.out_channels)),
            stairs.get((layer.name, "in")),
            stairs.get((layer.name, "out")),
        )
        for layer in graph.layers
    }
