"""Which calls of an exported graph are a module of torch.nn with its own parameters: convolution, linear, BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tailor.channels.copying import duplicate, named_tensors
from tailor.channels.counts import bound
from tailor.program import ProgramLayer

__all__ = ["LayerCalls"]

_STATES = {
    "Conv": ("weight", "bias"),
    "ConvTranspose": ("weight", "bias"),
    "Linear": ("weight", "bias"),
    "BatchNorm": ("weight", "bias", "running_mean", "running_var"),
}
_OPERATORS = {
    **{f"aten.conv{dims}d.{overload}": "Conv" for dims in (1, 2, 3) for overload in ("default", "padding")},
    **{f"aten.conv_transpose{dims}d.{'default' if dims == 1 else 'input'}": "ConvTranspose" for dims in (1, 2, 3)},
    "aten.linear.default": "Linear",
    "aten.batch_norm.default": "BatchNorm",
}


class LayerCalls:
    """Recognises layers; `layers` are those met so far, `frozen_norms` the BatchNorms that never train.

    `states` names the parameter or buffer that a placeholder of the graph stands for.
    """

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor], states: Mapping[str, str]) -> None:
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._tensors = tensors
        self._states = states
        self.layers: dict[str, ProgramLayer] = {}
        self.frozen_norms = _frozen_norms(model)

    def owner(self, node: Any) -> str | None:
        """The path of the module that makes this call with its own parameters; its numbers are noted in `layers`."""
        found = _OPERATORS.get(str(node.target))
        if found is None:
            return None
        known = bound(node.target, node.args, node.kwargs)
        names = [name for name in _STATES[found] if known.get(name) is not None]
        paths = {name: self._states.get(getattr(known[name], "name", "")) for name in names}
        owners = {path.rpartition(".")[0] if path else None for path in paths.values()}
        owner = next(iter(owners)) if len(owners) == 1 else None
        if owner is None or any(path != f"{owner}.{name}" for name, path in paths.items()):
            return None
        unused = {f"{owner}.{name}" for name in _STATES[found]} & set(self._tensors) - set(paths.values())
        layer = None if unused else self._described(found, owner, known)
        if layer is None or self.layers.get(owner, layer) != layer:
            return None
        self.layers[owner] = layer
        return owner

    def _described(self, kind: str, owner: str, known: Mapping[str, Any]) -> ProgramLayer | None:
        if kind == "Linear":
            return ProgramLayer(kind=kind, options={})
        if kind == "BatchNorm":
            module = self._modules.get(owner)
            if not isinstance(module, _BatchNorm) or owner in self.frozen_norms:
                return None
            dims = max(1, known["input"].meta["val"].ndim - 2)
            options = {"eps": known["eps"], "momentum": module.momentum}
            options["track_running_stats"] = module.track_running_stats
            return ProgramLayer(kind=f"BatchNorm{dims}d", options=options) if dims <= 3 else None
        return _convolution(kind, self._tensors[f"{owner}.weight"], known)


def _convolution(kind: str, weight: Tensor, known: Mapping[str, Any]) -> ProgramLayer:
    dims, channels = weight.ndim - 2, int(known["input"].meta["val"].shape[1])
    options = {
        name: _per_dim(known.get(name, default), dims)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    }
    if kind == "ConvTranspose":
        options["output_padding"] = _per_dim(known.get("output_padding", 0), dims)
    groups = known.get("groups", 1)
    if groups > 1 and groups == channels:
        options["multiplier"] = int(weight.shape[0]) // groups if kind == "Conv" else int(weight.shape[1])
    else:
        options["groups"] = groups
    return ProgramLayer(kind=f"{kind}{dims}d", options=options)


def _per_dim(value: Any, dims: int) -> Any:
    if isinstance(value, str):
        return value
    numbers = [value] if isinstance(value, int) else [int(number) for number in value]
    return numbers * dims if len(numbers) == 1 else numbers


def _frozen_norms(model: nn.Module) -> frozenset[str]:
    """BatchNorms that stay in eval mode when their network trains."""
    twin = duplicate(model, named_tensors(model)).train()
    return frozenset(
        name
        for name, module in twin.named_modules(remove_duplicate=False)
        if isinstance(module, _BatchNorm) and not module.training
    )
