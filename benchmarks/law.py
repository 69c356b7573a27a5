"""The masked-dense law for any pruning tool: what was removed is read off tagged weights, not asked of the tool."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["exactness"]

TOLERANCE = 1e-6  # double precision leaves about 1e-13
CONSUMERS = (nn.Conv2d, nn.Linear)

Cut = Callable[[nn.Module], nn.Module]
Kept = dict[str, tuple[Tensor, Tensor]]


def exactness(model: nn.Module, cut: Cut) -> dict[str, object]:
    """Whether a cut equals the dense network whose consumers ignore the removed channels.

    `cut` must choose the same channels each time, whatever the weights. The difference is the largest one, as a
    share of the largest output. "spoiled" repeats the comparison against a reference in which one consumer reads a
    wrong channel: if that number is small as well, the comparison says nothing.
    """
    dense = _stressed(model)
    inputs = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kept = _kept(dense, cut(_tagged(dense)))
    try:
        found = _output(cut(copy.deepcopy(dense)), inputs)
    except RuntimeError as error:
        return {"verdict": f"does not run: {str(error).splitlines()[0]}", "difference": math.inf, "spoiled": math.nan}
    difference = _difference(_output(_masked(dense, kept), inputs), found)
    spoiled = _difference(_output(_masked(dense, _spoiled(dense, kept)), inputs), found)
    return {
        "verdict": "holds" if difference <= TOLERANCE else "broken",
        "difference": difference,
        "spoiled": spoiled,
    }


def _stressed(model: nn.Module) -> nn.Module:
    """A double-precision copy with random affine terms and BatchNorm statistics near the true ones, moved at random."""
    dense = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in dense.modules() if isinstance(module, nn.BatchNorm2d)]
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        dense.eval()
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        dense(images)
        dense.eval()
        for norm in norms:
            for tensor, scale in ((norm.running_mean, 0.1), (norm.weight, 0.2), (norm.bias, 0.2)):
                tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * scale)
            norm.running_var.mul_(1 + torch.rand(norm.num_features, generator=generator, dtype=torch.float64))
    return dense


def _tagged(dense: nn.Module) -> nn.Module:
    """A copy in which every weight says its row and column, scaled so that activations stay finite."""
    tagged = copy.deepcopy(dense)
    for _, module in _consumers(tagged):
        rows, columns = module.weight.shape[:2]
        numbers = torch.arange(rows * columns, dtype=torch.float64) * _scale(module.weight)
        shape = (rows, columns, *[1] * (module.weight.ndim - 2))
        module.weight.data = numbers.reshape(shape).expand_as(module.weight).clone()
    return tagged


def _scale(weight: Tensor) -> float:
    """A power of two, so that tags survive it exactly: rows sum to less than one."""
    return 2.0 ** -math.ceil(math.log2(weight.shape[0] * weight.shape[1] * weight[0].numel()))


def _kept(dense: nn.Module, cut: nn.Module) -> Kept:
    """Rows and columns of every weight that survived, read off the tags."""
    whole = {name: module.weight for name, module in _consumers(dense)}
    kept: Kept = {}
    for name, module in _consumers(cut):
        scaled = module.weight.detach().reshape(*module.weight.shape[:2], -1)[:, :, 0]
        tags = (scaled / _scale(whole[name])).round().long()
        columns = whole[name].shape[1]
        kept[name] = (tags[:, 0] // columns, tags[0] % columns)
    return kept


def _masked(dense: nn.Module, kept: Kept) -> nn.Module:
    """The dense network with zero weights where a consumer would read a removed channel."""
    masked = copy.deepcopy(dense)
    for name, module in _consumers(masked):
        if getattr(module, "groups", 1) == 1:  # a depthwise layer's columns are not channels: its consumers mask them
            mask = torch.zeros(module.weight.shape[1], dtype=torch.float64)
            mask[kept[name][1]] = 1
            module.weight.data *= mask.reshape(1, -1, *[1] * (module.weight.ndim - 2))
    return masked


def _spoiled(dense: nn.Module, kept: Kept) -> Kept:
    """The same, but the last consumer that lost channels takes a removed one for a kept one."""
    sizes = {name: module.weight.shape[1] for name, module in _consumers(dense) if getattr(module, "groups", 1) == 1}
    name = [name for name, size in sizes.items() if len(kept[name][1]) < size][-1]
    rows, columns = kept[name]
    removed = next(column for column in range(sizes[name]) if column not in columns)
    return kept | {name: (rows, torch.cat([columns[1:], torch.tensor([removed])]))}


def _consumers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, CONSUMERS)]


def _output(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model.eval()(inputs)


def _difference(want: Tensor, have: Tensor) -> float:
    return float((want - have).abs().max() / want.abs().max())
