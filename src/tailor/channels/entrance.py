"""Which modules can be traced: wrappers are taken off and said; what cannot be cut is refused, with the way out."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tailor.errors import TraceError

__all__ = ["admitted", "refuse_quantised"]

_WRAPPED = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",  # what torch.compile returns
}


def admitted(model: Any) -> nn.Module:
    """The network inside its wrappers, each of which is said in a warning.

    Raises:
        TraceError: no module, a TorchScript module, or a lazy module without weights.
    """
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise TraceError(f"a model must be a torch.nn.Module, not {kind}", value=kind)
    inner: nn.Module = model
    while type(inner).__name__ in _WRAPPED and type(inner).__module__.startswith("torch."):
        kind = type(inner).__name__
        warnings.warn(f"{kind} is taken off: what is cut is the network inside; wrap the result anew", stacklevel=3)
        inner = getattr(inner, _WRAPPED[kind])
    for name, module in inner.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(
                f"{name or 'the model'} is TorchScript, which cannot be cut; give the Python module it was made of",
                value=name,
            )
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and is_lazy(tensor):
                path = f"{name}.{key}" if name else key
                raise TraceError(f"{path!r} is lazy and has no shape yet; run the model once before", value=path)
    return inner


def refuse_quantised(model: nn.Module) -> None:
    """Refuse a network in which nothing can be cut because its weights are packed.

    Raises:
        TraceError: names the first quantised module.
    """
    for name, module in model.named_modules():
        if ".quantized" in type(module).__module__:
            raise TraceError(
                f"{name!r} is quantised: its packed weights cannot be cut; cut the float network, then quantise",
                value=name,
            )
