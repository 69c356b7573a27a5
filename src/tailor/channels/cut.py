"""Surgery: builds the smaller network from the channel map, and leaves the user's model alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from tailor.errors import CutError
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["assemble", "build", "kept_positions", "refit_modules", "shortened_tensors"]


def kept_positions(graph: ChannelGraph, plan: KeepPlan) -> dict[tuple[str, int], Tensor]:
    """Positions to keep along every (tensor path, dimension) that the plan shortens, each of shape [kept]."""
    removed: dict[tuple[str, int], list[np.ndarray[Any, Any]]] = {}
    for group in graph.groups:
        kept = plan.kept[group.name]
        if len(kept) == group.width:
            continue
        gone = np.setdiff1d(np.arange(group.width), np.asarray(kept))
        for slot in group.slots:
            removed.setdefault((slot.path, slot.dim), []).append(slot.indices[gone].reshape(-1))
    sizes = {tensor.path: tensor.shape for tensor in graph.tensors}
    positions = {}
    for (path, dim), parts in removed.items():
        keep = np.setdiff1d(np.arange(sizes[path][dim]), np.concatenate(parts))
        positions[path, dim] = torch.from_numpy(keep)
    return positions


def build(model: nn.Module, graph: ChannelGraph, plan: KeepPlan) -> nn.Module:
    """The smaller network, as a new module with its own weights; modes, hooks and frozen flags are kept.

    Raises:
        CutError: the plan is another graph's, or breaks a pin, a bound or a quantum.
    """
    return assemble(model, shortened_tensors(model, graph, plan))


def shortened_tensors(model: nn.Module, graph: ChannelGraph, plan: KeepPlan) -> dict[str, Tensor]:
    """New tensors for everything that the plan shortens, by state-dict key."""
    graph.check_plan(plan)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    missing = sorted({tensor.path for tensor in graph.tensors} - set(named))
    if missing:
        raise CutError(f"the graph was traced on another model: {missing[0]!r} is missing here", value=missing)
    dims: dict[str, dict[int, Tensor]] = {}
    for (path, dim), keep in kept_positions(graph, plan).items():
        dims.setdefault(path, {})[dim] = keep
    return {path: _shortened(named[path], keeps) for path, keeps in dims.items()}


def assemble(model: nn.Module, replaced: dict[str, Tensor]) -> nn.Module:
    """A copy of the model with some tensors replaced and every module's own numbers made to agree.

    The replacements are put into the copy's memo, so that shared weights stay shared and nothing is copied twice.
    """
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    memo: dict[int, Any] = {id(named[path]): tensor for path, tensor in replaced.items()}
    small = copy.deepcopy(model, memo)
    refit_modules(small)
    return small


def _shortened(tensor: Tensor, dims: dict[int, Tensor]) -> Tensor:
    """A new tensor with only the kept positions; a parameter stays a parameter, its memory format stays."""
    data = tensor.detach()
    for dim, keep in dims.items():
        data = data.index_select(dim, keep.to(data.device))
    data = data.contiguous()
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous():
        data = data.contiguous(memory_format=torch.channels_last)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data


def refit_modules(model: nn.Module) -> None:
    """Make every module's own numbers (`in_channels`, `groups`, `num_features` ...) agree with its tensors."""
    for module in model.modules():
        if isinstance(module, _ConvNd):
            _refit_convolution(module)
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, _NormBase):
            tensor = module.weight if module.weight is not None else module.running_mean
            if tensor is not None:
                module.num_features = tensor.shape[0]
        elif isinstance(module, nn.LayerNorm) and module.weight is not None:
            module.normalized_shape = tuple(module.weight.shape)
        elif isinstance(module, nn.GroupNorm) and module.weight is not None:
            if module.num_groups == module.num_channels:
                module.num_groups = module.weight.shape[0]
            module.num_channels = module.weight.shape[0]
        elif isinstance(module, nn.PReLU):
            module.num_parameters = module.weight.numel()


def _refit_convolution(module: _ConvNd) -> None:
    if module.weight is None or isinstance(module.weight, nn.parameter.UninitializedParameter):
        return
    first, second = int(module.weight.shape[0]), int(module.weight.shape[1])
    depthwise = module.groups > 1 and module.groups == module.in_channels
    multiplier = module.out_channels // module.in_channels
    if isinstance(module, _ConvTransposeNd):
        if depthwise:
            module.groups = first
        module.in_channels, module.out_channels = first, second * module.groups
    elif depthwise:
        module.in_channels = module.groups = first // multiplier
        module.out_channels = first
    else:
        module.in_channels, module.out_channels = second * module.groups, first
