"""What the loss would lose without a channel, to first order: parameters times their gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tailor.errors import DataError, InvalidOptionError
from tailor.importance.filters import Scores, parameter_at, per_unit
from tailor.spec import ChannelGraph, ChannelGroup, Slot

__all__ = ["TAYLORS", "TaylorAccumulator", "taylor_scores"]

TAYLORS = ("bn-taylor", "weight-taylor", "gate-taylor", "input-taylor")

Batches = Iterable[tuple[Tensor, Tensor]]


class TaylorAccumulator:
    """Averages first-order saliencies over iterations; call `observe` after every backward pass.

    "bn-taylor": |sum over the coupled norms of gamma dL/dgamma + beta dL/dbeta| per iteration, summed before the
    absolute value because coupled channels leave together (Shen et al. 2022, "HALP", equation 3). Groups in which a
    producer has no BatchNorm fall back to weights; `without_norm` names them.
    "weight-taylor": |sum over the producing weights of w dL/dw|, without norms or biases.
    "input-taylor": the same over the weights that consume the channel (Humble et al. 2022, "Soft Masking for
    Cost-Constrained Channel Pruning").
    "gate-taylor": (sum of z dL/dz)^2 of a gate z = 1 behind the norm, where z dL/dz equals gamma dL/dgamma + beta
    dL/dbeta; behind weights and bias where there is no norm (Molchanov et al. 2019, "Importance Estimation for Neural
    Network Pruning").

    Iterations with NaN or infinity are skipped.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, kind: str) -> None:
        if kind not in TAYLORS:
            raise InvalidOptionError(f"no saliency {kind!r}; known are {', '.join(TAYLORS)}", value=kind)
        self._model = model
        self._kind = kind
        self._groups = graph.prunable
        norms = {group.name: _norm_slots(model, group) for group in self._groups}
        self.without_norm = tuple(name for name, slots in norms.items() if slots is None)
        self._slots: dict[str, tuple[Slot, ...]] = {}
        for group in self._groups:
            self._slots[group.name] = _slots(model, group, kind, norms[group.name])
        self.reset()

    def reset(self) -> None:
        """Forget what was observed."""
        self.iterations = 0
        self._sums = {group.name: np.zeros(group.width) for group in self._groups}

    def observe(self) -> bool:
        """Take in the gradients that the parameters hold now; False when they are no numbers and were skipped."""
        found = {name: self._contribution(slots) for name, slots in self._slots.items()}
        if not all(np.isfinite(scores).all() for scores in found.values()):
            return False
        for name, scores in found.items():
            self._sums[name] += np.square(scores) if self._kind == "gate-taylor" else np.abs(scores)
        self.iterations += 1
        return True

    def scores(self) -> dict[str, Scores]:
        """The average per group, shape [width] each.

        Raises:
            DataError: nothing was observed.
        """
        if not self.iterations:
            raise DataError("no gradient was observed; saliencies need training images", value=0)
        return {name: total / self.iterations for name, total in self._sums.items()}

    def _contribution(self, slots: tuple[Slot, ...]) -> Scores:
        """Sum over the slots of parameter times gradient, shape [width]."""
        total = np.zeros(len(slots[0].indices) if slots else 0)
        for slot in slots:
            parameter = parameter_at(self._model, slot.path)
            if parameter.grad is not None:
                total += per_unit(parameter * parameter.grad, slot).sum(axis=1)
        return total


def taylor_scores(
    model: nn.Module,
    graph: ChannelGraph,
    kind: str,
    batches: Batches,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    device: str = "cpu",
) -> Mapping[str, Scores]:
    """Saliencies of every prunable group over the batches (images, labels), the network in evaluation mode.

    A copy of the model is run; the model is left as found.

    Raises:
        DataError: there are no batches, or none gave finite gradients.
    """
    copied = copy.deepcopy(model).to(device).eval().requires_grad_(requires_grad=True)
    accumulator = TaylorAccumulator(copied, graph, kind)
    with torch.enable_grad():
        for images, labels in batches:
            copied.zero_grad(set_to_none=True)
            loss(copied(images), labels).backward()  # type: ignore[no-untyped-call]
            accumulator.observe()
    return accumulator.scores()


def _norm_slots(model: nn.Module, group: ChannelGroup) -> tuple[Slot, ...] | None:
    """The scales and shifts of the group's norms, None when it has fewer norms than producers."""
    found = [slot for slot in group.slots if slot.role == "per-channel" and _of_norm(model, slot.path)]
    norms = {slot.path.rpartition(".")[0] for slot in found}
    return tuple(found) if found and len(norms) >= len(group.producers) else None


def _of_norm(model: nn.Module, path: str) -> bool:
    owner, _, name = path.rpartition(".")
    return name in ("weight", "bias") and isinstance(model.get_submodule(owner), _BatchNorm)


def _slots(model: nn.Module, group: ChannelGroup, kind: str, norms: tuple[Slot, ...] | None) -> tuple[Slot, ...]:
    """The parameters whose products with their gradients make up a unit's saliency."""
    if kind == "input-taylor":
        return tuple(slot for slot in group.slots if slot.role == "in")
    if kind == "weight-taylor" or norms is None:
        return _weight_slots(model, group, biases=kind == "gate-taylor")
    return norms


def _weight_slots(model: nn.Module, group: ChannelGroup, *, biases: bool) -> tuple[Slot, ...]:
    """What produces the group's channels."""
    weights = [slot for slot in group.slots if slot.role == "out"]
    if biases:
        owners = {path.rpartition(".")[0] for path in group.producers}
        weights += [
            slot for slot in group.slots
            if slot.role == "per-channel" and slot.path.rpartition(".") in {(owner, ".", "bias") for owner in owners}
        ]
    return tuple(weights)
