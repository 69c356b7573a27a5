"""Surgery: builds the smaller network from the channel map, and leaves the user's model alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from tailor.channels.copying import duplicate, named_tensors
from tailor.channels.entrance import admitted
from tailor.channels.network import Counts, network_of
from tailor.channels.nothing import Gone
from tailor.errors import CutError
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["Positions", "assemble", "build", "gone_modules", "kept_positions", "shortened_tensors"]

Positions = dict[tuple[str, int], Tensor]


def kept_positions(graph: ChannelGraph, plan: KeepPlan) -> Positions:
    """Positions to keep along every (tensor path, dimension) that the plan shortens, each of shape [kept]."""
    sizes = {tensor.path: tensor.shape for tensor in graph.tensors}
    masks: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
    for group in graph.groups:
        kept = plan.kept[group.name]
        if len(kept) == group.width:
            continue
        gone = np.ones(group.width, dtype=bool)
        gone[list(kept)] = False
        for slot in group.slots:
            mask = masks.get((slot.path, slot.dim))
            if mask is None:
                mask = masks[slot.path, slot.dim] = np.ones(sizes[slot.path][slot.dim], dtype=bool)
            mask[slot.indices[gone].reshape(-1)] = False
    return {place: torch.from_numpy(np.flatnonzero(mask)) for place, mask in masks.items()}


def gone_modules(graph: ChannelGraph, plan: KeepPlan) -> tuple[str, ...]:
    """Names of the modules that the plan's removed branches are made of."""
    return tuple(module for branch in graph.gone(plan.widths) for module in branch.modules)


def build(model: nn.Module, graph: ChannelGraph, plan: KeepPlan) -> nn.Module:
    """The smaller network, as a new module with its own weights; modes, hooks and frozen flags are kept.

    Where the graph belongs to the model's exported form, that is what is cut, and what comes back.

    Raises:
        CutError: the plan is another graph's, or breaks a pin, a bound or a quantum; or the model is another.
    """
    model = admitted(model)
    graph.check_plan(plan)
    model = network_of(model, graph)
    shortened = shortened_tensors(model, graph, kept_positions(graph, plan))
    return assemble(model, shortened, gone_modules(graph, plan))


def shortened_tensors(model: nn.Module, graph: ChannelGraph, positions: Positions) -> dict[str, Tensor]:
    """New tensors for everything that loses positions, by state-dict key.

    Raises:
        CutError: the model has not the tensors that the graph was traced on.
    """
    named = named_tensors(model)
    for spec in graph.tensors:
        if spec.path not in named or tuple(named[spec.path].shape) != spec.shape:
            found = f"has shape {list(named[spec.path].shape)}" if spec.path in named else "is missing"
            raise CutError(f"the graph was traced on another model: {spec.path!r} {found} here", value=spec.path)
    dims: dict[str, dict[int, Tensor]] = {}
    for (path, dim), keep in positions.items():
        dims.setdefault(path, {})[dim] = keep
    return {path: _shortened(named[path], keeps) for path, keeps in dims.items()}


def assemble(model: nn.Module, replaced: Mapping[str, Tensor], gone: Sequence[str] = ()) -> nn.Module:
    """A copy of the model with some tensors replaced and the numbers of their modules made to agree.

    Shared weights stay shared, and nothing that is replaced is copied; the modules in `gone` compute nothing.
    """
    small = duplicate(model, replaced)
    dense = named_tensors(model)
    changed = {id(tensor) for path, tensor in replaced.items() if tensor.shape != dense[path].shape}
    for module in small.modules():
        own = (*module._parameters.values(), *module._buffers.values())
        if any(id(tensor) in changed for tensor in own) or hasattr(module, "parametrizations"):
            _refit(module)
    left = {id(small.get_submodule(path)) for path in gone}
    for parent in list(small.modules()) if left else ():
        for name, child in parent._modules.items():
            if id(child) in left and child is not None:
                parent._modules[name] = Gone.of(child)
    return small


def _shortened(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """A new tensor with only the kept positions; a parameter stays a parameter, its memory format stays."""
    data = tensor.detach()
    for dim, keep in sorted(dims.items()):  # rows first: they are copied whole, and leave less for the columns
        data = data.index_select(dim, keep.to(data.device))
    data = data.contiguous()
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous():
        data = data.contiguous(memory_format=torch.channels_last)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data


def _refit(module: nn.Module) -> None:
    """Make a module's own numbers (`in_channels`, `groups`, `num_features` ...) agree with its tensors."""
    if isinstance(module, _ConvNd):
        _refit_convolution(module)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NormBase):
        tensor = module.weight if module.weight is not None else module.running_mean
        if tensor is not None:
            module.num_features = tensor.shape[0]
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        if module.num_groups == module.num_channels:
            module.num_groups = module.weight.shape[0]
        module.num_channels = module.weight.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.numel()
    elif isinstance(module, Counts):
        module.refit()


def _refit_convolution(module: _ConvNd) -> None:
    first, second = _weight(module).shape[:2]
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


def _weight(module: _ConvNd) -> Tensor:
    """The weight, or what weight_norm and pruning hooks compute it from: their `weight` is stale until a forward."""
    own = (module._parameters.get(name) for name in ("weight", "weight_v", "weight_orig"))
    return next((tensor for tensor in own if tensor is not None), module.weight)
