"""One line of a comparison: what a method made of the same network under the same budget."""

from __future__ import annotations

from dataclasses import dataclass

from tailor.records import Environment, Interval
from tailor.spec import Target

__all__ = ["ComparedRun", "Comparison"]

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One method, budget and seed. Pairs are (dense, pruned); `ratio` is measured latency over the dense network's.

    `outcome` is the verdict of a fresh process (PASS, FAIL, UNDECIDED), or ERROR with the reason when the run ended in
    one; then nothing else is known. `search_seconds` include what a method trains on the way. Accuracies (0 to 1) are
    top-1 on the test images.
    """

    method: str
    budget: str
    seed: int
    folder: str
    outcome: str
    reason: str
    accuracy: tuple[float, float] | None = None
    ratio: Interval | None = None
    macs: Pair | None = None
    parameters: Pair | None = None
    channels: Pair | None = None
    structures: int | None = None
    search_seconds: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All runs from the same dense weights, on the same target, data, split and fine-tuning."""

    model: str
    target: Target
    data: str
    recipe: str
    epochs: int
    environment: Environment
    runs: tuple[ComparedRun, ...]
    command: str
