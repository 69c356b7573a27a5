"""The layers that a run executed: their concrete shapes, and which groups their input and output channels read."""

from __future__ import annotations

from collections.abc import Sequence

from tailor.channels.run import LayerCall
from tailor.spec import Axis, ChannelGroup, Layer, LayerShape

__all__ = ["layers_of"]

Terms = dict[tuple[str, int], list[tuple[ChannelGroup, int]]]


def layers_of(calls: Sequence[LayerCall], groups: Sequence[ChannelGroup], batch: int) -> tuple[Layer, ...]:
    """One `Layer` per weight and shape, in the order of the run; repeated calls are counted."""
    terms: Terms = {}
    for group in groups:
        for slot in group.slots:
            terms.setdefault((slot.path, slot.dim), []).append((group, int(slot.indices.shape[1])))
    counted: dict[tuple[str, LayerShape], int] = {}
    for call in calls:
        shape, times = _shape(call, batch)
        counted[call.path, shape] = counted.get((call.path, shape), 0) + times
    seen: dict[str, int] = {}
    layers = []
    for (path, shape), times in counted.items():
        name = path.rpartition(".")[0] or path
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        inputs, outputs = _axes(path, shape, terms)
        layers.append(Layer(name=unique, shape=shape, inputs=inputs, outputs=outputs, calls=times))
    return tuple(layers)


def _shape(call: LayerCall, batch: int) -> tuple[LayerShape, int]:
    """The concrete shape, and how often it runs per sample of the batch."""
    args, out = call.call.args, call.call.out
    if call.kind == "linear":
        weight = args["mat2"]
        shape = LayerShape(
            kind="linear",
            in_channels=int(weight.shape[0]),
            out_channels=int(weight.shape[1]),
            bias=call.call.name == "addmm",
        )
        return shape, max(1, int(out.shape[0]) // batch)
    x, weight = args["input"], args["weight"]
    spatial = x.ndim - 2
    shape = LayerShape(
        kind=call.kind,
        in_channels=int(x.shape[1]),
        out_channels=int(out.shape[1]),
        kernel=tuple(weight.shape[2:]),
        stride=_per_dim(args["stride"], spatial),
        padding=_per_dim(args["padding"], spatial),
        dilation=_per_dim(args["dilation"], spatial),
        output_padding=_per_dim(args["output_padding"], spatial) if call.kind == "deconv" else (),
        groups=int(args["groups"]),
        spatial=tuple(x.shape[2:]),
        bias=args["bias"] is not None,
    )
    return shape, max(1, int(x.shape[0]) // batch)


def _per_dim(values: Sequence[int], dims: int) -> tuple[int, ...]:
    return tuple(int(v) for v in values) * (dims if len(values) == 1 else 1)


def _axes(path: str, shape: LayerShape, terms: Terms) -> tuple[Axis, Axis]:
    """Input and output axis of the weight at `path`, in channels of the layer (not of the weight's dimensions)."""
    depthwise = shape.groups > 1 and shape.groups == shape.in_channels
    if shape.kind == "linear":
        return _axis(terms, path, 1, 1, 1, shape.in_channels), _axis(terms, path, 0, 1, 1, shape.out_channels)
    if depthwise:
        multiplier = shape.out_channels // shape.in_channels
        up, down = (1, multiplier) if shape.kind == "conv" else (multiplier, 1)
        outputs = _axis(terms, path, 0, up, 1, shape.out_channels)
        return _axis(terms, path, 0, 1, down, shape.in_channels), outputs
    if shape.kind == "conv":
        inputs = _axis(terms, path, 1, shape.groups, 1, shape.in_channels)
        return inputs, _axis(terms, path, 0, 1, 1, shape.out_channels)
    inputs = _axis(terms, path, 0, 1, 1, shape.in_channels)
    return inputs, _axis(terms, path, 1, shape.groups, 1, shape.out_channels)


def _axis(terms: Terms, path: str, dim: int, times: int, per: int, size: int) -> Axis:
    own = [(group, units * times // per) for group, units in terms.get((path, dim), ())]
    varying = sum(group.width * units for group, units in own)
    return Axis(fixed=size - varying, terms=tuple((group.name, units) for group, units in own))
