"""The layers that a run executed: their concrete shapes, and which groups their input and output channels read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailor.channels.identity import module_name
from tailor.channels.rules import Call
from tailor.spec import Axis, ChannelGroup, Layer, LayerShape

__all__ = ["LayerCall", "layers_of"]

Terms = dict[tuple[str, int], list[tuple[ChannelGroup, int]]]


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One execution of a convolution or linear layer; `rows` counts the samples or positions that it ran over.

    `axes` are the dimensions of the weight that its input and its output channels lie along.
    """

    path: str
    shape: LayerShape
    rows: int
    axes: tuple[int, int]

    @classmethod
    def of(cls, path: str, kind: str, call: Call, axes: tuple[int, int], sizes: tuple[int, ...]) -> LayerCall:
        """Read the numbers off the operator's arguments and its weight's shape; no tensor is kept."""
        args, out = call.args, call.out
        if kind == "linear":
            inner, outer = sizes[axes[0]], sizes[axes[1]]
            shape = LayerShape(kind=kind, in_channels=inner, out_channels=outer, bias=call.name == "addmm")
            return cls(path, shape, out.numel() // outer, axes)
        x, weight = args["input"], args["weight"]
        spatial = x.ndim - 2
        shape = LayerShape(
            kind=kind,
            in_channels=int(x.shape[1]),
            out_channels=int(out.shape[1]),
            kernel=tuple(weight.shape[2:]),
            stride=_per_dim(args["stride"], spatial),
            padding=_per_dim(args["padding"], spatial),
            dilation=_per_dim(args["dilation"], spatial),
            output_padding=_per_dim(args["output_padding"], spatial) if kind == "deconv" else (),
            groups=int(args["groups"]),
            spatial=tuple(x.shape[2:]),
            bias=args["bias"] is not None,
        )
        return cls(path, shape, int(x.shape[0]), axes)


def layers_of(calls: Sequence[LayerCall], groups: Sequence[ChannelGroup], batch: int) -> tuple[Layer, ...]:
    """One `Layer` per weight and shape, in the order of the run; repeated calls are counted."""
    terms: Terms = {}
    for group in groups:
        places = {(slot.path, slot.dim): int(slot.indices.shape[1]) for slot in group.slots}
        for place, units in places.items():
            terms.setdefault(place, []).append((group, units))
    counted: dict[tuple[str, LayerShape, tuple[int, int]], int] = {}
    for call in calls:
        key = (call.path, call.shape, call.axes)
        counted[key] = counted.get(key, 0) + max(1, call.rows // batch)
    seen: dict[str, int] = {}
    layers = []
    for (path, shape, axes), times in counted.items():
        name = module_name(path)
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        inputs, outputs = _axes(path, shape, axes, terms)
        layers.append(Layer(name=unique, shape=shape, inputs=inputs, outputs=outputs, calls=times))
    return tuple(layers)


def _per_dim(values: Sequence[int], dims: int) -> tuple[int, ...]:
    return tuple(int(v) for v in values) * (dims if len(values) == 1 else 1)


def _axes(path: str, shape: LayerShape, axes: tuple[int, int], terms: Terms) -> tuple[Axis, Axis]:
    """Input and output axis of the weight at `path`, in channels of the layer (not of the weight's dimensions)."""
    first, last = axes
    if shape.groups > 1 and shape.groups == shape.in_channels:  # depthwise: one dimension says it all
        multiplier = shape.out_channels // shape.in_channels
        up, down = (1, multiplier) if shape.kind == "conv" else (multiplier, 1)
        outputs = _axis(terms, path, 0, up, 1, shape.out_channels)
        return _axis(terms, path, 0, 1, down, shape.in_channels), outputs
    inner = shape.groups if shape.kind == "conv" else 1  # a grouped weight holds one block's inputs,
    outer = shape.groups if shape.kind == "deconv" else 1  # a transposed one one block's outputs
    inputs = _axis(terms, path, first, inner, 1, shape.in_channels)
    return inputs, _axis(terms, path, last, outer, 1, shape.out_channels)


def _axis(terms: Terms, path: str, dim: int, times: int, per: int, size: int) -> Axis:
    own = [(group, units * times // per) for group, units in terms.get((path, dim), ())]
    varying = sum(group.width * units for group, units in own)
    return Axis(fixed=size - varying, terms=tuple((group.name, units) for group, units in own))
