"""What was promised and what was found: outcome, accuracy at each stage, the five metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tailor.records.budget import Budget
from tailor.records.timing import Environment, Interval
from tailor.spec import Target

__all__ = ["Outcome", "Reductions", "Stages", "Verdict"]


class Outcome(str, Enum):
    """What verification found."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"

    @property
    def exit_code(self) -> int:
        """The process exit code of this outcome: 0, 3 or 4."""
        return {"PASS": 0, "FAIL": 3, "UNDECIDED": 4}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Top-1 accuracy (0 to 1) on the test split at each stage; None where a stage was skipped."""

    dense: float
    cut: float | None = None
    recalibrated: float | None = None
    fine_tuned: float | None = None

    @property
    def final(self) -> float:
        """Accuracy of what is handed over."""
        stages = (self.fine_tuned, self.recalibrated, self.cut, self.dense)
        return next(value for value in stages if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reductions:
    """Dense and pruned values of LACP's five metrics (accuracy in 0 to 1, latency in ns)."""

    accuracy: tuple[float, float] | None
    latency_ns: tuple[int, int]
    macs: tuple[int, int]
    parameters: tuple[int, int]
    channels: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a fresh process found: PASS, FAIL or UNDECIDED, with the numbers and the reason.

    `ratio` is pruned over dense latency, its interval includes how fresh copies differ and, as that of `pruned`, what
    the host's state adds to a session (`host_noise`, a relative standard deviation); `limit_ns` is the budget in
    that process; `instances` counts the fresh copies of each network that were timed. `equivalent` says that the saved
    network gave the outputs that the run recorded; `accuracy` is top-1 of the saved network (0 to 1), None without
    data; `statistic` is the one that the settings asked for, None in records that an earlier version wrote.
    """

    outcome: Outcome
    reason: str
    budget: Budget
    limit_ns: int
    dense: Interval
    pruned: Interval
    ratio: Interval
    resolution: float
    instances: int
    equivalent: bool
    accuracy: float | None
    dense_accuracy: float | None
    target: Target
    environment: Environment
    warnings: tuple[str, ...] = field(default=())
    statistic: str | None = None
    host_noise: float = 0.0

    @property
    def budget_taken(self) -> float:
        """The share of the budget that the interval's upper end takes; above 1 where the budget is not surely kept."""
        if self.budget.share is not None:
            return self.ratio.high / self.budget.share
        return self.pruned.high / self.limit_ns
