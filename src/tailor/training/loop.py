"""Training a classifier by a recipe: seeded, resumable after every epoch, with an optional teacher."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tailor.errors import TrainingError
from tailor.records import Epoch, TrainingResult
from tailor.serialize import decode, encode
from tailor.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tailor.training.data import Data
from tailor.training.distillation import distillation_loss
from tailor.training.evaluate import accuracy, logits_of
from tailor.training.modes import channels_last, mode_kept, seeded
from tailor.training.precision import autocast, resolve_precision
from tailor.training.recipes import Recipe

__all__ = ["Progress", "train"]

Progress = Callable[[str, int, int], None]  # (what is going on, steps done, steps in all)


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    teacher: nn.Module | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TrainingResult:
    """Train the model in place; its device, modes, layout and the global random state are as they were afterwards.

    With a checkpoint file, a stopped training goes on after its last whole epoch and ends with the weights that the
    uninterrupted one would have. The teacher counts only if the recipe has a distillation weight; it is not changed.

    Raises:
        TrainingError: no parameter may be trained, or the loss is no longer finite.
        RunFolderError: the checkpoint is damaged or belongs to another training.
    """
    precision = resolve_precision(recipe.precision, device)
    if not recipe.distillation_weight:
        teacher = None
    history: list[Epoch] = []
    resumed_from = 0
    if recipe.epochs:
        with _lent(model, device), mode_kept(model), channels_last(model), torch.enable_grad():
            session = _Session.open(model, data, recipe, teacher, device, precision)
            resumed_from = session.resume(checkpoint, history)
            for epoch in range(resumed_from, recipe.epochs):
                history.append(session.run_epoch(epoch, progress))
                session.save(checkpoint, history)
            session.finish()
    return TrainingResult(
        precision=precision,
        distilled=teacher is not None,
        history=tuple(history),
        resumed_from=resumed_from,
    )


@dataclass(slots=True, kw_only=True)
class _Session:
    """The moving parts of one training."""

    model: nn.Module
    data: Data
    recipe: Recipe
    teacher: nn.Module | None
    device: str
    precision: str
    optimizer: torch.optim.SGD
    scheduler: LRScheduler
    average: AveragedModel | None
    steps: int
    fingerprint: str
    parameters: list[nn.Parameter] = field(default_factory=list)

    @classmethod
    def open(
        cls, model: nn.Module, data: Data, recipe: Recipe, teacher: nn.Module | None, device: str, precision: str
    ) -> _Session:
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            raise TrainingError("no parameter requires a gradient; unfreeze the model, or skip training", value=0)
        steps = max(1, data.count("train") // recipe.batch_size)
        optimizer = torch.optim.SGD(
            parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        average = None
        if recipe.ema_decay is not None:
            # buffers too: BatchNorm statistics have to belong to the averaged weights
            average = AveragedModel(model, multi_avg_fn=_average(recipe.ema_decay), use_buffers=True)
        if teacher is not None:
            teacher = copy.deepcopy(teacher).to(device).to(memory_format=torch.channels_last).eval()
        return cls(
            model=model,
            data=data,
            recipe=recipe,
            teacher=teacher,
            device=device,
            precision=precision,
            optimizer=optimizer,
            scheduler=_schedule(optimizer, recipe, steps),
            average=average,
            steps=steps,
            fingerprint=_fingerprint(model, data, recipe, teacher is not None),
            parameters=parameters,
        )

    def run_epoch(self, epoch: int, progress: Progress | None) -> Epoch:
        """One pass over the training images and one over the held-out ones."""
        start = time.perf_counter()
        seed = self.recipe.seed * 100_003 + epoch  # the epoch's own, so that a resumed training draws the same
        batches = self.data.batches(
            "train",
            self.recipe.batch_size,
            shuffle_seed=seed,
            augment=True,
            drop_incomplete=True,
            device=self.device,
        )
        total = torch.zeros((), device=self.device)
        self.model.train()
        with seeded(seed, self.device):
            for step, (images, labels) in enumerate(batches, start=1):
                total += self._step(images, labels)
                if progress is not None:
                    text = f"epoch {epoch + 1} of {self.recipe.epochs}"
                    progress(text, epoch * self.steps + step, self.recipe.epochs * self.steps)
        loss = float(total) / self.steps
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate {self.recipe.learning_rate}",
                value=loss,
            )
        score = accuracy(self._averaged(), self._heldout(), precision=self.precision)
        return Epoch(
            epoch=epoch + 1,
            loss=loss,
            heldout_accuracy=score,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            seconds=time.perf_counter() - start,
        )

    def resume(self, path: Path | None, history: list[Epoch]) -> int:
        """Take over a checkpoint's state, if there is one; returns the epochs already done."""
        found = None if path is None else load_checkpoint(path, self.fingerprint)
        if found is None:
            return 0
        for name, part in self._parts().items():
            part.load_state_dict(found.states[name])
        history.extend(decode(found.history.encode(), tuple[Epoch, ...]))
        return found.epoch

    def save(self, path: Path | None, history: list[Epoch]) -> None:
        """Write the state after the last epoch of the history."""
        if path is None:
            return
        states = {name: part.state_dict() for name, part in self._parts().items()}
        record = Checkpoint(
            fingerprint=self.fingerprint, epoch=len(history), history=encode(tuple(history)).decode(), states=states
        )
        save_checkpoint(path, record)

    def finish(self) -> None:
        """Hand the averaged weights over, and leave no gradients behind."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.optimizer.zero_grad(set_to_none=True)

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            logits = logits_of(self.model(images))
        loss = self._loss(logits, labels, images)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.gradient_clip)
        self.optimizer.step()
        self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.detach()

    def _loss(self, logits: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        hard = F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        if self.teacher is None:
            return hard
        with torch.no_grad(), autocast(self.precision, self.device):
            target = logits_of(self.teacher(images))
        weight = self.recipe.distillation_weight
        return (1 - weight) * hard + weight * distillation_loss(logits, target, self.recipe.temperature)

    def _averaged(self) -> nn.Module:
        if self.average is None:
            return self.model
        module: nn.Module = self.average.module
        return module

    def _heldout(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.data.batches("heldout", self.recipe.batch_size, device=self.device):
            yield images.contiguous(memory_format=torch.channels_last), labels

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return parts if self.average is None else {**parts, "average": self.average}


def _schedule(optimizer: torch.optim.SGD, recipe: Recipe, steps: int) -> LRScheduler:
    """The learning rate per step, `steps` of them an epoch."""
    total = recipe.epochs * steps
    if recipe.schedule == "steps":
        return MultiStepLR(optimizer, [m * steps for m in recipe.milestones], gamma=recipe.gamma)
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimizer, total)
    # one step more than is taken: torch refuses to be stepped past the end; it divides by the steps up and down
    steps = max(total + 1, 3)
    rise = max(0.2, 2 / steps)
    return OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=rise, cycle_momentum=False)


def _average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential averaging whose memory grows with the steps taken, so that a short training forgets its start."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        taken = int(count)
        step: Any = get_ema_multi_avg_fn(min(decay, (1 + taken) / (10 + taken)))  # type: ignore[no-untyped-call]
        step(averaged, current, count)

    return update


def _fingerprint(model: nn.Module, data: Data, recipe: Recipe, distilled: bool) -> str:
    shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    counts = (data.count("train"), data.count("heldout"))
    facts = (shapes, data.name, counts, data.normalization, encode(recipe), distilled)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


@contextmanager
def _lent(model: nn.Module, device: str) -> Iterator[None]:
    """The model is on the device inside, and back where it was afterwards."""
    home = next(model.parameters()).device
    model.to(device)
    try:
        yield
    finally:
        model.to(home)
