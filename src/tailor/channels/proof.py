"""The law of surgery: the cut network equals the dense network whose consumers ignore the removed channels.

Both are run on random inputs with BatchNorm statistics and affine terms randomised, so that no channel is trivially
zero. For norms that mix channels the reference recomputes the statistics over the kept ones.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from tailor.channels.cut import assemble, kept_positions, shortened_tensors
from tailor.channels.run import FORWARD_ERRORS, Inputs, output_tensors, quiet
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["TOLERANCE", "Finding", "Proof", "masked_outputs"]

TOLERANCE = 1e-3  # of the largest output; float32 noise stays below 1e-4, a wrong channel shows as 1e-1 and more


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How far the cut network is from the masked dense one, relative to the largest output; or why it cannot run."""

    difference: float
    failure: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the law holds."""
        return self.failure is None and self.difference <= TOLERANCE


class Proof:
    """A stressed copy of one model and random inputs, on which any number of plans can be held against the law."""

    def __init__(self, model: nn.Module, graph: ChannelGraph, inputs: Inputs, seed: int = 0) -> None:
        self._graph = graph
        with quiet(model):
            generator = torch.Generator().manual_seed(seed)
            self._inputs = _random_like(inputs, generator)
            self._model = _stressed(model, self._inputs, generator)

    def check(self, plan: KeepPlan) -> Finding:
        """Cut the stressed copy and compare."""
        with quiet(self._model):
            expected = masked_outputs(self._model, self._graph, plan, self._inputs)
            try:
                got = output_tensors(self._cut(plan)(*self._inputs.args, **self._inputs.kwargs))
            except FORWARD_ERRORS as error:
                words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                return Finding(difference=float("inf"), failure=f"forward fails after the cut: {words}")
        return _compare(expected, got)

    def _cut(self, plan: KeepPlan) -> nn.Module:
        """The cut network; what is not shortened is shared with the stressed copy, since nobody trains either."""
        shared: dict[str, Tensor] = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        return assemble(self._model, shared | shortened_tensors(self._model, self._graph, plan))


def _compare(expected: list[Tensor], got: list[Tensor]) -> Finding:
    if [tuple(t.shape) for t in expected] != [tuple(t.shape) for t in got]:
        return Finding(difference=float("inf"), failure="the cut changes the shape of the output")
    worst = 0.0
    for want, have in zip(expected, got, strict=True):
        if not want.numel():
            continue
        scale = float(want.abs().max().clamp_min(1e-12))
        difference = float((want - have).abs().max()) / scale
        worst = max(worst, float("inf") if math.isnan(difference) else difference)  # NaN proves nothing
    return Finding(difference=worst)


def masked_outputs(model: nn.Module, graph: ChannelGraph, plan: KeepPlan, inputs: Inputs) -> list[Tensor]:
    """Outputs of the dense network whose consumers' weights are zero for every removed channel."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    positions = kept_positions(graph, plan)
    consumers = {(slot.path, slot.dim) for group in graph.groups for slot in group.slots if slot.role == "in"}
    masked: dict[str, Tensor] = {}
    for (path, dim), keep in positions.items():
        if (path, dim) in consumers:
            weight = masked.get(path, tensors[path].detach())
            mask = torch.zeros(weight.shape[dim], dtype=torch.bool, device=weight.device)
            mask[keep.to(weight.device)] = True
            shape = [1] * weight.ndim
            shape[dim] = -1
            masked[path] = weight * mask.reshape(shape)
    norms = {id(tensors[path]): positions[path, 0] for path, dim in positions if dim == 0}
    with _KeptNorms(norms):
        output = functional_call(model, masked, inputs.args, dict(inputs.kwargs))
    return output_tensors(output)


class _KeptNorms(TorchDispatchMode):
    """LayerNorm and GroupNorm as the cut network computes them: statistics over the kept channels alone."""

    def __init__(self, kept: dict[int, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = kept

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        if (
            func.overloadpacket in (aten.native_layer_norm, aten.native_group_norm)
            and id(args[1 + (func.overloadpacket is aten.native_layer_norm)]) in self._kept
        ):
            return self._over_kept(func, args)
        return func(*args, **(kwargs or {}))

    def _over_kept(self, func: Any, args: tuple[Any, ...]) -> Any:
        x = args[0]
        if func.overloadpacket is torch.ops.aten.native_layer_norm:
            keep = self._kept[id(args[2])].to(x.device)
            out, *rest = func(x[..., keep], [len(keep)], args[2][keep], _pick(args[3], keep), args[4])
            whole = torch.zeros_like(x)
            whole[..., keep] = out
        else:
            keep = self._kept[id(args[1])].to(x.device)
            groups = args[6] if args[6] != x.shape[1] else len(keep)
            out, *rest = func(
                x[:, keep], args[1][keep], _pick(args[2], keep), args[3], len(keep), args[5], groups, args[7]
            )
            whole = torch.zeros_like(x)
            whole[:, keep] = out
        return (whole, *rest)


def _pick(bias: Tensor | None, keep: Tensor) -> Tensor | None:
    return None if bias is None else bias[keep]


def _random_like(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Floating inputs become standard normal; integer and boolean ones stay as given."""

    def fresh(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return torch.randn(leaf.shape, generator=generator).to(leaf)
        return leaf

    return Inputs(tree_map(fresh, inputs.args), tree_map(fresh, dict(inputs.kwargs)))


def _stressed(model: nn.Module, inputs: Inputs, generator: torch.Generator) -> nn.Module:
    """A copy whose one-dimensional parameters are random and whose BatchNorm statistics are near their true ones.

    Statistics drawn at random would let activations explode and saturate, and a saturated output hides differences.
    """

    def draw(tensor: Tensor, scale: float) -> Tensor:
        return (torch.randn(tensor.shape, generator=generator) * scale).to(tensor)

    def degenerate(parameter: Tensor) -> bool:
        return parameter.squeeze().ndim <= 1 or not bool(parameter.reshape(-1)[:4096].any())

    drawn = {name for name, p in model.named_parameters() if p.is_floating_point() and degenerate(p)}
    shared = {id(p): p for name, p in model.named_parameters() if name not in drawn}
    copied = copy.deepcopy(model, shared)  # large weights are only read, so they are not copied
    for name, parameter in copied.named_parameters():
        if name in drawn:
            parameter.data.add_(draw(parameter, 0.2))
    norms = [m for m in copied.modules() if isinstance(m, _NormBase) and m.running_mean is not None]
    handles = [norm.register_forward_pre_hook(_calibrate(draw)) for norm in norms]
    try:
        copied(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return copied


def _calibrate(draw: Any) -> Any:
    """A pre-hook that sets a norm's running statistics to its input's, each moved by some ten percent."""

    def hook(norm: Any, args: tuple[Tensor, ...]) -> None:
        x = args[0].detach()
        dims = [dim for dim in range(x.ndim) if dim != 1]
        spread = x.float().var(correction=0).clamp_min(1e-3)
        norm.running_mean.copy_(x.mean(dims) + draw(norm.running_mean, 0.1) * spread.sqrt())
        variance = x.float().var(dims, correction=0).clamp_min(0.1 * float(spread))
        norm.running_var.copy_(variance * draw(norm.running_var, 0.2).exp())

    return hook
