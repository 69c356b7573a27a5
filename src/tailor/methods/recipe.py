"""A method as data: which importance, latency, fitness, grid of widths and strategy it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from tailor.errors import InvalidOptionError
from tailor.search import (
    AcceptanceConfig,
    BayesianConfig,
    BeeColonyConfig,
    EvolutionConfig,
    GreedyConfig,
    KnapsackConfig,
    NetAdaptConfig,
    OptimumConfig,
    RandomSearchConfig,
    UniformConfig,
)

__all__ = ["CHOICES", "Method", "SearchConfig"]

SearchConfig = (
    AcceptanceConfig
    | BayesianConfig
    | BeeColonyConfig
    | EvolutionConfig
    | GreedyConfig
    | KnapsackConfig
    | NetAdaptConfig
    | OptimumConfig
    | RandomSearchConfig
    | UniformConfig
)

CHOICES = {
    "latency": ("predicted", "measured"),
    "fitness": ("recalibrated", "short-training"),
    "residual": ("fixed", "free"),
    "grid": ("edges", "tenths", "all"),
    "scale": ("raw", "group-mean"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Everything a method decides, as data; change a choice with `dataclasses.replace`.

    The defaults are LACP's (Liu, Sun, Xu, Sun; BenchCouncil Transactions 1(1), 2021). Certain from the paper: the
    latency staircase shrinks the space; 10 cycles of 30 structures, 15 by mutation and 15 by crossover; the last
    convolution of each residual block keeps its width (`residual="fixed"`). The paper leaves open what follows;
    these are our choices, each with its reason (more in docs/methods.md):

    importance: "l1", the filters with the largest sums of weights are inherited. The paper searches structures and
        calls the choice of channels secondary; L1 needs no data and is deterministic.
    latency: "predicted" rejects structures before they are scored and costs microseconds; the winner is measured
        anyway. "measured" times every whole candidate, which is the reading closest to "latency as the direct metric".
    fitness: "recalibrated" is the held-out accuracy with inherited weights after fresh BatchNorm statistics, as in
        MetaPruning, whose half-mutation, half-crossover split LACP shares. "short-training" trains each candidate for
        `short_epochs` first, as in ABCPruner, which LACP compares with.
    grid: "edges", the widths that a group may take are the right edges of its treads; "tenths" of the dense width or
        "all" from a tenth of it are for methods that know no staircase.
    scale: what the values of channels are compared as across groups by methods that sum them: "raw" scores, or scores
        over their "group-mean".
    recalibration_images, evaluation_images: how many training and held-out images one score uses. At 90 %
        accuracy, 1024 images give a standard error of 0.9 points, and all structures see the same images.
    search: latency is a hard limit and not a penalty, because a budget is what the user gives; parents and mutation
        rate are given in `EvolutionConfig`.
    """

    name: str
    summary: str
    importance: str = "l1"
    latency: str = "predicted"
    fitness: str = "recalibrated"
    residual: str = "fixed"
    short_epochs: int = 2
    recalibration_images: int = 512
    evaluation_images: int = 1024
    grid: str = "edges"
    scale: str = "raw"
    search: SearchConfig = field(default_factory=EvolutionConfig)

    def __post_init__(self) -> None:
        for option, known in CHOICES.items():
            value = getattr(self, option)
            if value not in known:
                raise InvalidOptionError(f"{option} must be one of {', '.join(known)}, not {value!r}", value=value)
        for option in ("short_epochs", "recalibration_images", "evaluation_images"):
            value = getattr(self, option)
            if value < 1:
                raise InvalidOptionError(f"{option} must be at least 1, not {value}", value=value)

    @property
    def options(self) -> Mapping[str, str]:
        """Every choice as text, for the run's configuration and its report."""
        own = {each.name: str(getattr(self, each.name)) for each in fields(self) if each.name != "search"}
        search = {f"search.{each.name}": str(getattr(self.search, each.name)) for each in fields(self.search)}
        return {**own, **search}
