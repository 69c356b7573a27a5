"""Pruning while training: saliencies are averaged between steps, channels are masked for good, training goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext

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

__all__ = ["Chooser", "train_gradually"]

Scores = npt.NDArray[np.float64]
# (step from 1, saliencies per group, what is kept so far) -> what is kept from now on, never more
Chooser = Callable[[int, Mapping[str, Scores], KeepPlan], KeepPlan]
Progress = Callable[[str, int, int], None]


def train_gradually(  # noqa: PLR0913  what is trained, on what, and how it is pruned
    model: nn.Module,
    graph: ChannelGraph,
    data: Data,
    recipe: Recipe,
    *,
    saliency: str,
    steps: int,
    interval: int,
    choose: Chooser,
    soft: bool = False,
    settling: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> KeepPlan:
    """Train in place for steps x interval iterations; after every interval, let `choose` remove channels for good.

    Saliencies (see `TaylorAccumulator`) are averaged over the interval, then forgotten (Shen et al. 2022, "HALP").
    Removed channels are masked after every iteration: the model can be cut to the plan that is returned without a
    change of its outputs. `soft` masks hide channels in the forward pass alone: they go on learning and `choose` may
    bring them back (Humble et al. 2022, "SMCP"). `settling` further intervals train under the last masks, which are
    hard ones. The learning rate of the recipe is constant; its epochs and schedule are not used.

    Raises:
        TrainingError: the loss is no longer finite for a whole interval.
    """
    kept = KeepPlan(fingerprint=graph.fingerprint, kept={g.name: tuple(range(g.width)) for g in graph.groups})
    home = next(model.parameters()).device
    model.to(device)
    with mode_kept(model), torch.enable_grad(), seeded(recipe.seed, device):
        model.train()
        accumulator = TaylorAccumulator(model, graph, saliency)
        mask = ChannelMask(model, graph, kept)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        batches = _endless(data, recipe, device)
        for step in range(1, steps + settling + 1):
            free = soft and step <= steps
            for iteration in range(interval):
                images, labels = next(batches)
                with mask.hidden() if free else nullcontext():
                    logits = logits_of(model(images)).float()
                    optimizer.zero_grad(set_to_none=True)
                    torch.autograd.backward(F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing))
                accumulator.observe()
                nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip or float("inf"))
                optimizer.step()
                if not free:
                    mask.apply()
                if progress is not None:
                    progress("iterations", (step - 1) * interval + iteration + 1, (steps + settling) * interval)
            if step > steps:
                continue
            if not accumulator.iterations:
                raise TrainingError(
                    f"no gradient of step {step} was a number; lower the learning rate {recipe.learning_rate}",
                    value=recipe.learning_rate,
                )
            kept = choose(step, accumulator.scores(), kept)
            accumulator.reset()
            mask = ChannelMask(model, graph, kept)
            if not soft or step == steps:
                mask.apply()
        optimizer.zero_grad(set_to_none=True)
    model.to(home)
    return kept


def _endless(data: Data, recipe: Recipe, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        seed = recipe.seed * 100_003 + epoch
        yield from data.batches(
            "train", recipe.batch_size, shuffle_seed=seed, augment=True, drop_incomplete=True, device=device
        )
        epoch += 1
