"""The law of surgery: the cut network equals the dense network whose consumers ignore the removed channels.

Both are run on random inputs with BatchNorm statistics and affine terms randomised, so that no channel is trivially
zero. For norms that mix channels the reference recomputes the statistics over the kept ones. Where a branch was
removed, its operand of the addition is zero in the reference: constants that its norms and biases would add are gone.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tailor.calling import FORWARD_ERRORS, Inputs, first_words, output_tensors, quiet, seed_all
from tailor.channels.copying import duplicate, named_tensors
from tailor.channels.cut import Positions, assemble, gone_modules, kept_positions, shortened_tensors
from tailor.channels.flow import WithoutBranches
from tailor.channels.mixing import KeptStatistics, MixingSites
from tailor.channels.stress import Stressed
from tailor.channels.witness import Witnesses
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
    """A stressed copy of one model and random inputs, on which any number of plans can be held against the law.

    A network that picks by value must be given in double precision (`stress.exact`): float noise could pick otherwise.
    """

    def __init__(self, stressed: Stressed, graph: ChannelGraph, mixing: MixingSites | None = None) -> None:
        self._stressed = stressed
        self._graph = graph
        self._mixing = mixing

    def check(self, plan: KeepPlan) -> Finding:
        """Cut the stressed copy and compare. The cut runs first: where it cannot, nothing else needs to."""
        model, inputs = self._stressed.model, self._stressed.inputs
        positions = kept_positions(self._graph, plan)
        with quiet(model):
            small = self._cut(positions, gone_modules(self._graph, plan))
            try:
                got, seen = self._observed(lambda: output_tensors(small(*inputs.args, **inputs.kwargs)))
            except FORWARD_ERRORS as error:
                return self._failed(f"forward fails after the cut: {first_words(error)}", _innermost(small, error))
            masked = {branch.addition: branch.operand for branch in self._graph.gone(plan.widths)}
            with WithoutBranches(masked) if masked else contextlib.nullcontext():
                expected, foreseen = self._observed(
                    lambda: masked_outputs(model, self._graph, positions, inputs, self._mixing)
                )
        pairs = [(one, other) for one, other in zip(foreseen, seen, strict=False) if one.shape == other.shape]
        if [tuple(t.shape) for t in expected] != [tuple(t.shape) for t in got]:
            return self._failed("the cut changes the shape of the output")
        pairs += zip(expected, got, strict=True)
        if not any(one.numel() for one, _ in pairs):
            return self._failed("the network answers with nothing, which proves nothing")
        return Finding(difference=_difference(pairs), tolerance=self._stressed.tolerance)

    def _observed(self, forward: Callable[[], list[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs, and what was picked from on the way; numbers drawn at random are the same every time."""
        seed_all(0)
        if not self._stressed.picks:
            return forward(), []
        with Witnesses() as witnesses:
            return forward(), witnesses.tensors

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


def _difference(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The largest difference of any two tensors, relative to the first one's largest entry."""
    worst = 0.0
    for want, have in pairs:
        if not want.numel():
            continue
        wide = torch.complex128 if want.is_complex() else torch.float64
        want, have = want.to(wide), have.to(wide)  # noqa: PLW2901 - booleans and integers compare as numbers
        difference = float((want - have).abs().max()) / float(want.abs().max().clamp_min(1e-12))
        worst = max(worst, math.inf if math.isnan(difference) else difference)  # NaN proves nothing
    return worst


def masked_outputs(
    model: nn.Module, graph: ChannelGraph, positions: Positions, inputs: Inputs, mixing: MixingSites | None = None
) -> list[Tensor]:
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
    kept = mixing.kept(positions) if mixing is not None else {}
    with KeptStatistics(kept) if kept else contextlib.nullcontext():
        output = functional_call(model, masked, inputs.args, dict(inputs.kwargs))
    return output_tensors(output)
