"""The seams, on one page: what a device, a latency model, an evaluator, a strategy and an importance must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tailor.records import Environment, Estimate, Measurement, NodeTime, TimingSettings, Trial
from tailor.spec import Widths

__all__ = ["Accountant", "Device", "Evaluator", "Importance", "LatencyModel", "Proposal", "Strategy", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """Something to time: `key` names it in the database, `module` is called as `module(*inputs)`.

    Whoever builds a subject vouches for its key: equal keys must mean equal latency.
    """

    key: str
    module: Any
    inputs: tuple[Any, ...]


class Device(Protocol):
    """An engine on a piece of hardware: knows what it is, and times many subjects side by side."""

    def environment(self) -> Environment:
        """Hardware, versions and settings, as they stand now."""

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        """Time all subjects in one session, interleaved in shuffled rounds; a subject that fails is a value."""


@runtime_checkable
class Accountant(Protocol):
    """A device whose engine tells what the parts of a running network took."""

    def account(
        self, subjects: Sequence[Subject], settings: TimingSettings, seconds: float
    ) -> tuple[list[Measurement], dict[str, tuple[NodeTime, ...]]]:
        """Time all subjects as `Device.measure` does, then account for each for so many seconds, by subject key."""


class LatencyModel(Protocol):
    """How fast would the network be at these widths?"""

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network."""


class Evaluator(Protocol):
    """How good would the network be at these widths? Must be a pure function of the widths."""

    def score(self, widths: Widths) -> float:
        """Higher is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A structure that a strategy wants evaluated, and how it came about ("random", "mutation", ...).

    `beyond` says that it is scored although it may be over the limit: a step on the way, never the result.
    """

    widths: Widths
    origin: str
    cycle: int
    beyond: bool = False


class Strategy(Protocol):
    """Proposes structures; `ask` is pure, so a stopped search resumes by telling it the journalled trials again."""

    @property
    def planned(self) -> int:
        """How many structures it means to propose in all; a space that runs out gives fewer."""

    @property
    def description(self) -> str:
        """Name and options as text: strategies that describe themselves alike ask alike."""

    def ask(self) -> tuple[Proposal, ...]:
        """The next structures to evaluate; empty when the search is over."""

    def tell(self, trials: Sequence[Trial]) -> None:
        """What became of the structures asked for."""


class Importance(Protocol):
    """Which channels matter: scores of one group's units."""

    def __call__(self, model: Any, group: Any) -> npt.NDArray[np.float64]:
        """Scores, shape [width]; the highest are kept."""
