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

__all__ = ["CHOICES", "GradualConfig", "Method", "SearchConfig"]

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
    "fitness": ("recalibrated", "short-training", "kept-importance"),
    "residual": ("fixed", "free"),
    "grid": ("edges", "tenths", "all"),
    "scale": ("raw", "group-mean"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GradualConfig:
    """Pruning while training: so many iterations before each of the knapsack's steps, at a constant learning rate.

    The defaults are HALP's 40 iterations; its learning rate belongs to training from scratch at batch 1024, ours to
    networks that are trained already. `soft` masks let removed channels learn on and return, as SMCP does; `settling`
    further intervals train under the last masks.
    """

    interval: int = 40
    learning_rate: float = 0.01
    soft: bool = False
    settling: int = 0

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise InvalidOptionError(f"interval must be at least 1, not {self.interval}", value=self.interval)
        if self.settling < 0:
            raise InvalidOptionError(f"settling must not be negative, not {self.settling}", value=self.settling)
        if not self.learning_rate > 0:
            message = f"learning_rate must be above 0, not {self.learning_rate}"
            raise InvalidOptionError(message, value=self.learning_rate)


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
        `short_epochs` first, as in ABCPruner, which LACP compares with, on the first `training_images` if given.
        "kept-importance" is the share of importance that stays, asked of the weights alone: all there is without data.
    grid: "edges", the widths that a group may take are the right edges of its treads; "tenths" of the dense width or
        "all" from a tenth of it are for methods that know no staircase.
    scale: what the values of channels are compared as where they are summed over groups: "raw" scores, where those of
        different layers are of one kind (Taylor, SP-LAMP), or scores over their "group-mean".
    recalibration_images, evaluation_images: how many training and held-out images one score uses. At 90 %
        accuracy, 1024 images give a standard error of 0.9 points, and all structures see the same images.
    depth: whether residual branches may be removed as a whole, beside the widths of what stays; the exact solver alone
        knows how.
    keeps_first: whether the groups of the first layer, and the first branch, stay whole.
    gradual: whether channels are removed while the network trains, step by step (needs a Taylor importance and the
        knapsack), or None: in one shot from the dense weights.
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
    training_images: int | None = None
    recalibration_images: int = 512
    evaluation_images: int = 1024
    grid: str = "edges"
    scale: str = "group-mean"
    depth: bool = False
    keeps_first: bool = False
    search: SearchConfig = field(default_factory=EvolutionConfig)
    gradual: GradualConfig | None = None

    def __post_init__(self) -> None:
        for option, known in CHOICES.items():
            value = getattr(self, option)
            if value not in known:
                raise InvalidOptionError(f"{option} must be one of {', '.join(known)}, not {value!r}", value=value)
        for option in ("short_epochs", "training_images", "recalibration_images", "evaluation_images"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise InvalidOptionError(f"{option} must be at least 1, not {value}", value=value)
        if self.depth and not isinstance(self.search, OptimumConfig):
            raise InvalidOptionError(
                f"{self.name} does not remove branches; leave depth out, or take mdp, which does", value=self.name
            )
        if self.gradual is not None:
            self._check_gradual()

    def _check_gradual(self) -> None:
        if not isinstance(self.search, KnapsackConfig):
            raise InvalidOptionError("pruning while training takes the knapsack's steps", value=self.search)
        if not self.importance.endswith("-taylor"):
            raise InvalidOptionError(
                f"{self.name} prunes while training and observes gradients: its importance must be bn-taylor, "
                f"weight-taylor, gate-taylor or input-taylor, not {self.importance!r}",
                value=self.importance,
            )

    @property
    def options(self) -> Mapping[str, str]:
        """Every choice as text, for the run's configuration and its report."""
        parts = {"search": self.search, "gradual": self.gradual}
        own = {each.name: str(getattr(self, each.name)) for each in fields(self) if each.name not in parts}
        for name, part in parts.items():
            if part is not None:
                own |= {f"{name}.{each.name}": str(getattr(part, each.name)) for each in fields(part)}
        return own
