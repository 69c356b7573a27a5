"""How good would these widths be? The cut network inherits the dense weights, is recalibrated, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import nn

from tailor.channels import build
from tailor.errors import InvalidOptionError
from tailor.importance import Ranking, rank
from tailor.protocols import Importance
from tailor.spec import ChannelGraph
from tailor.training.data import Batch, Data
from tailor.training.evaluate import accuracy
from tailor.training.loop import train
from tailor.training.precision import resolve_precision
from tailor.training.recalibrate import recalibrate
from tailor.training.recipes import Recipe

__all__ = ["FITNESSES", "AccuracyEvaluator"]

FITNESSES = ("recalibrated", "short-training")


@dataclass(frozen=True, slots=True, eq=False)
class AccuracyEvaluator:
    """Scores widths by the top-1 accuracy (0 to 1) on held-out images of the network cut to them.

    The kept channels are those of highest importance. Fitness "recalibrated" judges the inherited weights after
    BatchNorm recalibration on `recalibration_images` of the training set (Li et al. 2020, "EagleEye");
    "short-training" trains them for `short_epochs` in between (Lin et al. 2020, "Channel Pruning via Automatic
    Structure Search"), on the first `training_images` if given. The score is a pure function of the widths: same
    images, same order, same seed. The model is not changed. `precision` reads back what "auto" became.

    Raises:
        InvalidOptionError: unknown fitness or precision, or a number below 1.
    """

    model: nn.Module
    graph: ChannelGraph
    importance: Importance
    data: Data
    _: KW_ONLY
    recalibration_images: int = 512
    evaluation_images: int = 1024
    fitness: str = "recalibrated"
    short_epochs: int = 1
    training_images: int | None = None
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    _ranking: Ranking = field(init=False, repr=False)
    _recalibration: list[Batch] = field(init=False, repr=False)
    _evaluation: list[Batch] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.fitness not in FITNESSES:
            raise InvalidOptionError(
                f"fitness {self.fitness!r} is not one of {', '.join(FITNESSES)}", value=self.fitness
            )
        for name in ("short_epochs", "training_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)
        object.__setattr__(self, "precision", resolve_precision(self.precision, self.device))
        object.__setattr__(self, "_ranking", rank(self.model, self.graph, self.importance))
        # decoded and normalised once: a search reads the same images some hundred times
        object.__setattr__(self, "_recalibration", self._preload("train", self.recalibration_images))
        object.__setattr__(self, "_evaluation", self._preload("heldout", self.evaluation_images))

    def score(self, widths: Mapping[str, int]) -> float:
        """Held-out accuracy, 0 to 1, of the network with these widths.

        Raises:
            CutError: the widths do not fit the graph.
        """
        candidate = build(self.model, self.graph, self._ranking.keep(widths)).to(self.device)
        candidate.to(memory_format=torch.channels_last)
        recalibrate(candidate, self._recalibration, precision=self.precision)
        if self.fitness == "short-training":
            self._train(candidate)
        return accuracy(candidate, self._evaluation, precision=self.precision)

    def _train(self, candidate: nn.Module) -> None:
        # low and falling, so that few steps improve the inherited weights; no teacher: the widths are on trial alone
        recipe = Recipe(
            name="short-training",
            epochs=self.short_epochs,
            learning_rate=0.01,
            schedule="cosine",
            gradient_clip=5.0,
            precision=self.precision,
            seed=self.seed,
        )
        train(candidate, self.data.limited(train=self.training_images, heldout=1), recipe, device=self.device)

    def _preload(self, split: str, images: int) -> list[Batch]:
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        return [
            (batch.to(dtype, memory_format=torch.channels_last), labels)
            for batch, labels in self.data.batches(split, 128, limit=images, device=self.device)
        ]
