"""What a search asked and was told: estimates, trials, and what it ended with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["NEAR", "Anchor", "Estimate", "GradualRecord", "SearchSummary", "Trial", "WidthsRecord"]

NEAR = "near "  # how the origin of a trial begins that was moved to the limit; the finalist's number follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A latency with its interval; adding keeps the worst source."""

    ns: int
    low_ns: int
    high_ns: int
    source: str = "measured"  # "measured" < "fitted" < "extrapolated"

    def __add__(self, other: Estimate) -> Estimate:
        order = ("measured", "fitted", "extrapolated")
        return Estimate(
            ns=self.ns + other.ns,
            low_ns=self.low_ns + other.low_ns,
            high_ns=self.high_ns + other.high_ns,
            source=max(self.source, other.source, key=order.index),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What predictions near the limit have to be multiplied by, from so many structures measured there.

    `factor` is measured over predicted latency at the limit, `spread` the largest relative distance of one structure's
    ratio from it, of the structures measured last. `search` is the search that it is for: before the first, structures
    are drawn to be measured; before every other, those count that the search before ended with and that took longer
    than predicted. `kept` are structures of searches before that are tried again beside the new ones; `tried` and
    `seconds` are what those searches came to.
    """

    factor: float = 1.0
    spread: float = 0.0
    structures: int = 0
    search: int = 1
    kept: tuple[Mapping[str, int], ...] = ()
    tried: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One structure that search tried.

    `score` is what the evaluator said (higher is better), None when the structure was over the latency limit and
    so was not evaluated. `origin` is "random", "mutation", "crossover" ... or begins with `NEAR`; `cycle` counts
    populations from 0.
    """

    number: int
    cycle: int
    origin: str
    widths: Mapping[str, int]
    latency: Estimate
    score: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GradualRecord:
    """What pruning while training ended with: the units kept per group, and every unit's last saliency."""

    kept: Mapping[str, tuple[int, ...]]
    scores: Mapping[str, tuple[float, ...]]
    iterations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What the search did: structures evaluated, seconds, the winner's trial number, and its measured latency."""

    structures: int
    seconds: float
    best: int
    limit_ns: int
    best_measured_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthsRecord:
    """Units per group before and after."""

    dense: Mapping[str, int]
    pruned: Mapping[str, int]
