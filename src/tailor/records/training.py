"""What each epoch, and a training as a whole, came to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Epoch", "TrainingResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch: mean training loss, held-out accuracy (0 to 1), the learning rate at its end, seconds."""

    epoch: int
    loss: float
    heldout_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training did; `resumed_from` counts the epochs that a checkpoint brought along."""

    precision: str
    distilled: bool
    history: tuple[Epoch, ...]
    resumed_from: int = 0
