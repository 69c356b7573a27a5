"""The law of surgery: the cut network equals the dense network whose consumers ignore the removed channels.

Both are run on random inputs with BatchNorm statistics and affine terms randomised, so that no channel is trivially
zero. For norms that mix channels the reference recomputes the statistics over the kept ones. Where a branch was
removed, its operand of the addition is zero in the reference: constants that its norms and biases would add are gone.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from tailor.calling import FORWARD_ERRORS, Inputs, first_words, output_tensors, quiet
from tailor.channels.copying import duplicate, named_tensors
from tailor.channels.cut import Positions, assemble, gone_modules, kept_positions, shortened_tensors
from tailor.channels.flow import WithoutBranches
from tailor.channels.stress import Stressed
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["Finding", "Proof", "masked_outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How far the cut network is from the masked dense one, relative to the largest output; or why it cannot run.

    `where` names the innermost module in which a forward failed, "" when there is none.
    """

    difference: float
    tolerance: float
    failure: str | None = None
    where: str = ""

    @property
    def holds(self) -> bool:
        """Whether the law holds."""
        return self.failure is None and self.difference <= self.tolerance

    @property
    def detail(self) -> str:
        """What was found, in words."""
        return self.failure or f"outputs differ by {self.difference:.1g} of the largest"


class Proof:
    """A stressed copy of one model and random inputs, on which any number of plans can be held against the law."""

    def __init__(self, stressed: Stressed, graph: ChannelGraph) -> None:
        self._stressed = stressed
        self._graph = graph

    def check(self, plan: KeepPlan) -> Finding:
        """Cut the stressed copy and compare. The cut runs first: where it cannot, nothing else needs to."""
        model, inputs = self._stressed.model, self._stressed.inputs
        positions = kept_positions(self._graph, plan)
        with quiet(model):
            small = self._cut(positions, gone_modules(self._graph, plan))
            try:
                got = output_tensors(small(*inputs.args, **inputs.kwargs))
            except FORWARD_ERRORS as error:
                return self._failed(f"forward fails after the cut: {first_words(error)}", _innermost(small, error))
            masked = {branch.addition: branch.operand for branch in self._graph.gone(plan.widths)}
            with WithoutBranches(masked) if masked else contextlib.nullcontext():
                expected = masked_outputs(model, self._graph, positions, inputs)
        if [tuple(t.shape) for t in expected] != [tuple(t.shape) for t in got]:
            return self._failed("the cut changes the shape of the output")
        return Finding(difference=_difference(expected, got), tolerance=self._stressed.tolerance)

    def check_training(self, plan: KeepPlan) -> Finding:
        """Run the cut network in training mode, where code does more with what it is given; fails if only it fails."""
        model = self._stressed.model
        positions = kept_positions(self._graph, plan)
        small = assemble(model, shortened_tensors(model, self._graph, positions), gone_modules(self._graph, plan))
        failure = self._training_error(small)
        if failure is None or self._training_error(duplicate(model, {})) is not None:
            return Finding(difference=0.0, tolerance=self._stressed.tolerance)
        return self._failed(f"forward fails in training after the cut: {first_words(failure)}")

    def _training_error(self, network: nn.Module) -> BaseException | None:
        inputs = self._stressed.inputs
        with quiet(network):
            network.train()
            try:
                network(*inputs.args, **inputs.kwargs)
            except FORWARD_ERRORS as error:
                return error
        return None

    def _failed(self, why: str, where: str = "") -> Finding:
        return Finding(difference=math.inf, tolerance=self._stressed.tolerance, failure=why, where=where)

    def _cut(self, positions: Positions, gone: tuple[str, ...]) -> nn.Module:
        """The cut network; what is not shortened is shared with the stressed copy, since nobody trains either."""
        model = self._stressed.model
        return assemble(model, named_tensors(model) | shortened_tensors(model, self._graph, positions), gone)


def _innermost(model: nn.Module, error: BaseException) -> str:
    """The innermost module of the model whose forward an error came out of."""
    names = {id(module): name for name, module in model.named_modules()}
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    known = [name for frame in frames if (name := names.get(id(frame.f_locals.get("self"))))]
    return known[-1] if known else ""


def _difference(expected: list[Tensor], got: list[Tensor]) -> float:
    """The largest difference of any output, relative to that output's largest entry."""
    worst = 0.0
    for want, have in zip(expected, got, strict=True):
        if not want.numel():
            continue
        wide = torch.complex128 if want.is_complex() else torch.float64
        want, have = want.to(wide), have.to(wide)  # noqa: PLW2901 - booleans and integers compare as numbers
        difference = float((want - have).abs().max()) / float(want.abs().max().clamp_min(1e-12))
        worst = max(worst, math.inf if math.isnan(difference) else difference)  # NaN proves nothing
    return worst


def masked_outputs(model: nn.Module, graph: ChannelGraph, positions: Positions, inputs: Inputs) -> list[Tensor]:
    """Outputs of the dense network whose consumers' weights are zero for every removed channel."""
    tensors = named_tensors(model)
    consumers = {(slot.path, slot.dim) for group in graph.groups for slot in group.slots if slot.role == "in"}
    masked: dict[str, Tensor] = {}
    for (path, dim), keep in positions.items():
        if (path, dim) in consumers:
            weight = masked.get(path, tensors[path].detach())
            mask = torch.zeros(weight.shape[dim], dtype=weight.dtype, device=weight.device)
            mask[keep.to(weight.device)] = 1
            shape = [1] * weight.ndim
            shape[dim] = -1
            masked[path] = weight * mask.reshape(shape)
    mixing = {slot.path for group in graph.groups if group.mixing is not None for slot in group.slots}
    norms = {id(tensors[path]): keep for (path, dim), keep in positions.items() if dim == 0 and path in mixing}
    with _KeptNorms(norms) if norms else contextlib.nullcontext():
        output = functional_call(model, masked, inputs.args, dict(inputs.kwargs))
    return output_tensors(output)


class _KeptNorms(TorchDispatchMode):
    """LayerNorm and GroupNorm as the cut network computes them: statistics over the kept channels alone."""

    def __init__(self, kept: Mapping[int, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = kept

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode, and guarding against it imports a compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        layer = func.overloadpacket is torch.ops.aten.native_layer_norm
        if layer or func.overloadpacket is torch.ops.aten.native_group_norm:
            keep = self._kept.get(id(args[2 if layer else 1]))
            if keep is not None:
                return (_layer_norm if layer else _group_norm)(func, args, keep.to(args[0].device))
        return func(*args, **(kwargs or {}))


def _layer_norm(func: Any, args: Any, keep: Tensor) -> Any:
    x, _, weight, bias, eps = args
    out, *rest = func(x[..., keep], [len(keep)], weight[keep], _pick(bias, keep), eps)
    whole = torch.zeros_like(x)
    whole[..., keep] = out
    return (whole, *rest)


def _group_norm(func: Any, args: Any, keep: Tensor) -> Any:
    x, weight, bias, batch, channels, positions, groups, eps = args
    groups = len(keep) if groups == channels else groups
    out, *rest = func(
        x[:, keep].contiguous(), weight[keep], _pick(bias, keep), batch, len(keep), positions, groups, eps
    )
    whole = torch.zeros_like(x)
    whole[:, keep] = out
    return (whole, *rest)


def _pick(bias: Tensor | None, keep: Tensor) -> Tensor | None:
    return None if bias is None else bias[keep]
