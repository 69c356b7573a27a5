"""Pruning while training: saliencies are averaged between steps, channels are masked for good, training goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailor.channels import ChannelMask
from tailor.errors import TrainingError
from tailor.importance import TaylorAccumulator
from tailor.spec import ChannelGraph, KeepPlan
from tailor.training.data import Data
from tailor.training.evaluate import logits_of
from tailor.training.modes import mode_kept, seeded
from tailor.training.recipes import Recipe

__all__ = ["Chooser", "PruningSchedule", "train_gradually"]

Scores = npt.NDArray[np.float64]
# (step from 1, saliencies per group, what is kept so far) -> what is kept from now on, never more
Chooser = Callable[[int, Mapping[str, Scores], KeepPlan], KeepPlan]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningSchedule:
    """When channels go: `steps` times, after `interval` iterations each, by which saliency (see `TaylorAccumulator`).

    `soft` masks hide channels in the forward pass alone: they go on learning and may come back (Humble et al. 2022,
    "SMCP"). `settling` further intervals train under the last masks, which are hard ones.
    """

    saliency: str
    steps: int
    interval: int
    soft: bool = False
    settling: int = 0

    @property
    def iterations(self) -> int:
        """Training iterations in all."""
        return (self.steps + self.settling) * self.interval


def train_gradually(
    model: nn.Module,
    graph: ChannelGraph,
    data: Data,
    recipe: Recipe,
    schedule: PruningSchedule,
    choose: Chooser,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> KeepPlan:
    """Train in place; after every interval of the schedule, let `choose` remove channels for good.

    Saliencies are averaged over the interval, then forgotten (Shen et al. 2022, "HALP"). Removed channels are masked
    after every iteration: the model can be cut to the plan that is returned without a change of its outputs. The
    learning rate of the recipe is constant; its epochs and its own schedule are not used.

    Raises:
        TrainingError: the loss is no longer finite for a whole interval.
    """
    kept = KeepPlan(fingerprint=graph.fingerprint, kept={g.name: tuple(range(g.width)) for g in graph.groups})
    home = next(model.parameters()).device
    model.to(device)
    with mode_kept(model), torch.enable_grad(), seeded(recipe.seed, device):
        model.train()
        accumulator = TaylorAccumulator(model, graph, schedule.saliency)
        trainer = _Trainer(model, recipe, accumulator)
        mask = ChannelMask(model, graph, kept)
        batches = _endless(data, recipe, device)
        for iteration in range(1, schedule.iterations + 1):
            step, rest = divmod(iteration - 1, schedule.interval)
            soft = schedule.soft and step < schedule.steps
            trainer.iterate(*next(batches), mask, soft=soft)
            if progress is not None:
                progress("iterations", iteration, schedule.iterations)
            if rest < schedule.interval - 1 or step >= schedule.steps:
                continue
            kept = choose(step + 1, _observed(accumulator, step + 1, recipe), kept)
            accumulator.reset()
            mask = ChannelMask(model, graph, kept)
            if not schedule.soft or step + 1 == schedule.steps:
                mask.apply()
        trainer.optimizer.zero_grad(set_to_none=True)
    model.to(home)
    return kept


class _Trainer:
    """One iteration after the other, each seen by the accumulator before the optimizer's step."""

    def __init__(self, model: nn.Module, recipe: Recipe, accumulator: TaylorAccumulator) -> None:
        self._model = model
        self._recipe = recipe
        self._accumulator = accumulator
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )

    def iterate(self, images: Tensor, labels: Tensor, mask: ChannelMask, *, soft: bool) -> None:
        """Masked channels learn nothing, or, where the mask is soft, go on learning unseen."""
        with mask.hidden() if soft else nullcontext():
            logits = logits_of(self._model(images)).float()
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing))
        self._accumulator.observe()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.gradient_clip or float("inf"))
        self.optimizer.step()
        if not soft:
            mask.apply()


def _observed(accumulator: TaylorAccumulator, step: int, recipe: Recipe) -> Mapping[str, Scores]:
    """The saliencies of an interval, unless none of its gradients was finite."""
    if not accumulator.iterations:
        raise TrainingError(
            f"no gradient of step {step} was a number; lower the learning rate {recipe.learning_rate}",
            value=recipe.learning_rate,
        )
    return accumulator.scores()


def _endless(data: Data, recipe: Recipe, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        seed = recipe.seed * 100_003 + epoch
        yield from data.batches(
            "train", recipe.batch_size, shuffle_seed=seed, augment=True, drop_incomplete=True, device=device
        )
        epoch += 1
