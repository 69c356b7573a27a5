"""The masked-dense law for any pruning tool: what was removed is read off tagged weights, not asked of the tool."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from timm.layers import CondConv2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_map

__all__ = ["exactness", "returned_tensors"]

TOLERANCE = 1e-6  # double precision leaves about 1e-13
SPOILINGS = 12  # wrong channels tried until one shows
INPUTS_FIRST = (_ConvTransposeNd, CondConv2d)  # the latter's weight mixes experts: one row of it is an expert
CONSUMERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *INPUTS_FIRST)

Cut = Callable[[nn.Module], nn.Module]
Kept = dict[str, tuple[Tensor, Tensor]]  # rows that survived, shape [rows], and each one's columns, [rows, columns]


def exactness(model: nn.Module, cut: Cut, inputs: tuple[Any, ...] | None = None) -> dict[str, object]:
    """Whether a cut equals the dense network whose consumers ignore the removed channels.

    `cut` must choose the same channels each time, whatever the weights. Compared are the outputs and what every layer
    computes that lost no output: a detector with random weights may return no box at all. The difference is the
    largest one, as a share of the largest entry. "spoiled" repeats the comparison against a reference in which one
    consumer reads a wrong channel, which must show in some of a few tries (a channel may be dead): where that number is
    small in all of them, the comparison says nothing.
    """
    inputs = _doubled((torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)),) if inputs is None
                      else inputs)
    dense = _stressed(model, inputs)
    kept = _kept(dense, cut(_tagged(dense)))
    whole = [name for name, (rows, _) in kept.items() if len(rows) == _matrix(dict(_consumers(dense))[name]).shape[0]]
    try:
        found = _seen(cut(copy.deepcopy(dense)), inputs, whole)
    except Exception as error:  # whatever a broken network raises
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return {"verdict": f"does not run: {first}", "difference": math.inf, "spoiled": math.nan}
    difference = _difference(_seen(_masked(dense, kept), inputs, whole), found)
    spoiled = math.nan
    for wrong in itertools.islice(_spoiled(dense, kept), SPOILINGS):
        spoiled = _difference(_seen(_masked(dense, wrong), inputs, whole), found)
        if spoiled > TOLERANCE:
            break
    return {
        "verdict": "holds" if difference <= TOLERANCE else "broken",
        "difference": difference,
        "spoiled": spoiled,
    }


def returned_tensors(output: Any) -> list[Tensor]:
    """The tensors nested in what a network returns."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    return [tensor for part in output for tensor in returned_tensors(part)] if isinstance(output, (list, tuple)) else []


def _doubled(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    doubled: tuple[Any, ...] = tree_map(
        lambda leaf: leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, inputs
    )
    return doubled


def _stressed(model: nn.Module, inputs: tuple[Any, ...]) -> nn.Module:
    """A double-precision copy with random affine terms and BatchNorm statistics near the true ones, moved at random."""
    dense = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in dense.modules() if isinstance(module, _BatchNorm)]
    noise = tree_map(lambda leaf: torch.randn(leaf.shape, dtype=leaf.dtype, generator=generator)
                     if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, inputs)
    with torch.no_grad():
        dense.eval()
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        dense(*noise)
        dense.eval()
        for norm in norms:
            if norm.running_var is None or norm.running_mean is None:
                continue
            for tensor, scale in ((norm.running_mean, 0.1), (norm.weight, 0.2), (norm.bias, 0.2)):
                if tensor is not None:
                    tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * scale)
            norm.running_var.mul_(1 + torch.rand(norm.num_features, generator=generator, dtype=torch.float64))
    return dense


def _tagged(dense: nn.Module) -> nn.Module:
    """A copy in which every weight says its row and column, scaled so that activations stay finite."""
    tagged = copy.deepcopy(dense)
    for _, module in _consumers(tagged):
        rows, columns = _matrix(module).shape[:2]
        numbers = torch.arange(rows * columns, dtype=torch.float64).reshape(rows, columns) * _scale(_matrix(module))
        _set(module, numbers.reshape(rows, columns, *[1] * (module.weight.ndim - 2)).expand(_matrix(module).shape))
    return tagged


def _matrix(module: nn.Module) -> Tensor:
    """The weight with its output channels first; a transposed convolution keeps them second."""
    weight: Tensor = module.weight
    return weight.transpose(0, 1) if isinstance(module, INPUTS_FIRST) else weight


def _set(module: nn.Module, matrix: Tensor) -> None:
    matrix = matrix.transpose(0, 1) if isinstance(module, INPUTS_FIRST) else matrix
    module.weight.data = matrix.clone(memory_format=torch.contiguous_format)


def _scale(weight: Tensor) -> float:
    """A power of two, so that tags survive it exactly: rows sum to less than one."""
    return 2.0 ** -math.ceil(math.log2(weight.shape[0] * weight.shape[1] * weight[0].numel()))


def _kept(dense: nn.Module, cut: nn.Module) -> Kept:
    """Rows and columns of every weight that survived, read off the tags."""
    whole = {name: _matrix(module) for name, module in _consumers(dense)}
    kept: Kept = {}
    for name, module in _consumers(cut):
        matrix = _matrix(module).detach()
        scaled = matrix.reshape(*matrix.shape[:2], -1)[:, :, 0]
        tags = (scaled / _scale(whole[name])).round().long()
        columns = whole[name].shape[1]
        kept[name] = (tags[:, 0] // columns, tags % columns)
    return kept


def _masked(dense: nn.Module, kept: Kept) -> nn.Module:
    """The dense network with zero weights where a consumer would read a removed channel.

    A row that was removed may keep its weights: nobody reads what it computes.
    """
    masked = copy.deepcopy(dense)
    for name, module in _consumers(masked):
        rows, columns = kept[name]
        matrix = _matrix(module).detach()
        mask = torch.ones(matrix.shape[:2], dtype=torch.float64)
        mask[rows] = torch.zeros(len(rows), matrix.shape[1], dtype=torch.float64).scatter(1, columns, 1.0)
        _set(module, matrix * mask.reshape(*mask.shape, *[1] * (matrix.ndim - 2)))
    return masked


def _spoiled(dense: nn.Module, kept: Kept) -> Iterator[Kept]:
    """The same, but one consumer that lost channels takes a removed one for a kept one: the last consumers first."""
    sizes = {name: _matrix(module).shape[1] for name, module in _consumers(dense)}
    names = [name for name, size in sizes.items() if kept[name][1].shape[1] < size]
    for name, last in itertools.product(reversed(names), (False, True)):
        rows, columns = kept[name]
        removed = sorted(set(range(sizes[name])) - set(columns[0].tolist()))
        place = -1 if last else 0
        wrong = columns.clone()
        wrong[:, place] = removed[place]
        yield kept | {name: (rows, wrong)}


def _consumers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers whose weight is their own parameter."""
    for name, module in model.named_modules():
        own = isinstance(getattr(module, "weight", None), nn.Parameter) and not parametrize.is_parametrized(module)
        if isinstance(module, CONSUMERS) and own:
            yield name, module


def _seen(model: nn.Module, inputs: tuple[Any, ...], whole: list[str]) -> list[Tensor]:
    """What the named layers compute, call by call, and what the network returns."""
    seen: list[Tensor] = []
    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(lambda _, args, out: seen.append(out)) for name in whole]
    with torch.no_grad():
        output = model.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return [*seen, *returned_tensors(output)]


def _difference(want: list[Tensor], have: list[Tensor]) -> float:
    if [tensor.shape for tensor in want] != [tensor.shape for tensor in have]:
        return math.inf
    shares = [
        float((one.double() - other.double()).abs().max() / one.double().abs().max().clamp_min(1e-30))
        for one, other in zip(want, have, strict=True)
        if one.numel()
    ]
    return max(share if math.isfinite(share) else math.inf for share in shares) if shares else math.nan
