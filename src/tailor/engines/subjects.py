"""Turns networks and lone layers into subjects that a device can time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.memory import available_bytes, tensor_bytes
from tailor.errors import MeasurementError
from tailor.protocols import Subject
from tailor.spec import LayerShape

__all__ = ["batched", "layer_key", "layer_module", "layer_subject", "network_subject"]

_CONVOLUTIONS: dict[tuple[str, int], type[nn.Module]] = {
    ("conv", 1): nn.Conv1d,
    ("conv", 2): nn.Conv2d,
    ("conv", 3): nn.Conv3d,
    ("deconv", 1): nn.ConvTranspose1d,
    ("deconv", 2): nn.ConvTranspose2d,
    ("deconv", 3): nn.ConvTranspose3d,
}


class _WithKeywords(nn.Module):
    """Calls a module by keywords, so that every subject can be called by position."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.names = tuple(names)

    def forward(self, *values: Any) -> Any:
        return self.module(**dict(zip(self.names, values, strict=True)))


def network_subject(key: str, module: nn.Module, example_inputs: Any, batch_size: int) -> Subject:
    """A network with inputs of the given batch size, repeated from the example (a tensor, a tuple, or a dict)."""
    if isinstance(example_inputs, Mapping):
        names, values = list(example_inputs), tuple(example_inputs.values())
        return Subject(key=key, module=_WithKeywords(module, names), inputs=batched(values, batch_size))
    values = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    return Subject(key=key, module=module, inputs=batched(values, batch_size))


def batched(values: Sequence[Any], batch_size: int) -> tuple[Any, ...]:
    """The same inputs with another batch size: samples are repeated in order; what has no batch stays.

    The batch is the first dimension of the first tensor, and of every tensor that agrees with it.

    Raises:
        MeasurementError: the repeated inputs would not fit in memory.
    """
    sizes = [value.shape[0] for value in values if isinstance(value, Tensor) and value.ndim]
    if not sizes:
        return tuple(values)
    needed, free = tensor_bytes(values) * batch_size // max(1, sizes[0]), available_bytes()
    if needed > free:
        raise MeasurementError(
            f"inputs of batch {batch_size} take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "give a smaller --batch-size",
            value=batch_size,
        )
    index = torch.arange(batch_size) % sizes[0]

    def repeated(value: Any) -> Any:
        has_batch = isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == sizes[0]
        return value[index.to(value.device)] if has_batch else value

    return tuple(repeated(value) for value in values)


def layer_key(shape: LayerShape) -> str:
    """Names a lone layer in the database: equal shapes, equal keys, whatever network they come from."""
    def joined(numbers: Sequence[int]) -> str:
        return "x".join(map(str, numbers)) or "-"

    return (
        f"layer {shape.kind} {shape.in_channels}->{shape.out_channels} on {joined(shape.spatial)} "
        f"kernel {joined(shape.kernel)} stride {joined(shape.stride)} padding {joined(shape.padding)} "
        f"dilation {joined(shape.dilation)} output_padding {joined(shape.output_padding)} groups {shape.groups} "
        f"bias {int(shape.bias)}"
    )


def layer_module(shape: LayerShape, *, seed: int = 0) -> nn.Module:
    """A layer of this shape with random weights of ordinary size; the global random state is not touched.

    Raises:
        MeasurementError: no such kind of layer.
    """
    options: dict[str, Any] = {"bias": shape.bias}
    kind: type[nn.Module]
    sizes: tuple[Any, ...] = (shape.in_channels, shape.out_channels)
    if shape.kind == "linear":
        kind = nn.Linear
    elif (shape.kind, len(shape.spatial)) in _CONVOLUTIONS:
        kind = _CONVOLUTIONS[shape.kind, len(shape.spatial)]
        sizes = (*sizes, shape.kernel)
        options |= {"stride": shape.stride, "padding": shape.padding}
        options |= {"dilation": shape.dilation, "groups": shape.groups}
        options |= {"output_padding": shape.output_padding} if shape.output_padding else {}
    else:
        raise MeasurementError(f"cannot build a lone layer of kind {shape.kind!r}", value=shape)
    module: nn.Module = nn.utils.skip_init(kind, *sizes, **options)  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.05, generator=generator)
    return module.eval()


def layer_subject(shape: LayerShape, batch_size: int, *, seed: int = 0) -> Subject:
    """A lone layer with random weights and a random input of the batch size."""
    generator = torch.Generator().manual_seed(seed)
    size = (batch_size, shape.in_channels, *shape.spatial)
    inputs = torch.randn(size, generator=generator)
    return Subject(key=layer_key(shape), module=layer_module(shape, seed=seed), inputs=(inputs,))
