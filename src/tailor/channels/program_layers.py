"""The modules of torch.nn that a program's layers are: made from what the program says and the tensors they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from tailor.errors import SchemaError
from tailor.program import ProgramLayer

__all__ = ["layer_of"]

_LAYERS = frozenset(
    f"{kind}{dims}d" for kind in ("Conv", "ConvTranspose", "BatchNorm") for dims in (1, 2, 3)
) | {"Linear"}


def layer_of(path: str, layer: ProgramLayer, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module of torch.nn for these tensors, its numbers read off them; its own tensors are empty.

    Raises:
        SchemaError: no such kind of layer, or tensors are missing.
    """
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in layer.options.items()
    }
    kind: Any = getattr(nn, layer.kind, None) if layer.kind in _LAYERS else None
    if kind is None:
        raise SchemaError(f"a stored network has a layer of an unknown kind: {layer.kind!r}", value=layer.kind)
    if layer.kind.startswith("BatchNorm"):
        return _norm(kind, path, options, tensors)
    weight, bias = tensors.get(f"{path}.weight"), f"{path}.bias" in tensors
    if weight is None:
        raise SchemaError(f"a stored network misses the weight of {path!r}", value=path)
    if kind is nn.Linear:
        return nn.Linear(weight.shape[1], weight.shape[0], bias=bias, device="meta")
    return _convolution(kind, weight, options, bias=bias)


def _norm(kind: Any, path: str, options: dict[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    sized = next((tensors[name] for part in ("weight", "running_mean") if (name := f"{path}.{part}") in tensors), None)
    if sized is None:
        raise SchemaError(f"a stored network misses the statistics of {path!r}", value=path)
    norm: nn.Module = kind(sized.shape[0], **options, affine=f"{path}.weight" in tensors, device="meta")
    return norm


def _convolution(kind: Any, weight: Tensor, options: dict[str, Any], *, bias: bool) -> nn.Module:
    first, second = int(weight.shape[0]), int(weight.shape[1])
    multiplier = options.pop("multiplier", None)  # of depthwise convolutions, whose groups are their channels
    transposed = issubclass(kind, _ConvTransposeNd)
    if multiplier is not None:
        options["groups"] = first if transposed else first // int(multiplier)
    groups = int(options["groups"])
    sizes = (first, second * groups) if transposed else (second * groups, first)
    layer: nn.Module = kind(*sizes, tuple(weight.shape[2:]), bias=bias, **options, device="meta")
    return layer
