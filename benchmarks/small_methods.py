"""The methods with fewer structures and shorter trainings on the way, the same proportions for all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tailor.methods import METHODS, Method, resized
from tailor.search import KnapsackConfig, NetAdaptConfig

__all__ = ["Sizes", "in_small"]

_POPULATIONS = ("lacp", "random", "eagleeye", "metapruning-evolution", "abcpruner", "bayesian")
_TRAINING = ("abcpruner",)  # every structure is trained: a population of them takes a share of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of a method is run; None leaves a number to the method.

    `cycles` and `population` are those of searches with populations, `trained_cycles` and `trained_population` where
    each structure is trained; `step` is NetAdapt's reduction per iteration (a share of the dense latency), `steps`
    the knapsacks', `structures` what those propose; `interval` the iterations between two steps while training;
    `images` how many one score reads (and recalibrates with), `training_images` how many a short training reads.
    """

    cycles: int | None = None
    population: int | None = None
    trained_cycles: int | None = None
    trained_population: int | None = None
    step: float | None = None
    steps: int | None = None
    structures: int | None = None
    interval: int | None = None
    images: int | None = None
    training_images: int | None = None


def in_small(name: str, sizes: Sizes) -> Method:
    """The method of this name with these sizes; everything else is its own."""
    method = METHODS[name]
    search = method.search
    if name in _POPULATIONS:
        trained = name in _TRAINING
        cycles = sizes.trained_cycles if trained else sizes.cycles
        search = resized(search, cycles=cycles, population=sizes.trained_population if trained else sizes.population)
    elif isinstance(search, KnapsackConfig):
        search = resized(search, cycles=sizes.steps, population=sizes.structures)
    elif isinstance(search, NetAdaptConfig) and sizes.step is not None:
        search = replace(search, reduction=sizes.step, decay=1.0)
    gradual = method.gradual
    if gradual is not None and sizes.interval is not None:
        steps = search.steps if isinstance(search, KnapsackConfig) else 1
        settling = min(gradual.settling, steps // 2)
        gradual = replace(gradual, interval=sizes.interval, settling=settling)
    return replace(
        method,
        search=search,
        gradual=gradual,
        training_images=sizes.training_images,
        recalibration_images=min(method.recalibration_images, sizes.images or method.recalibration_images),
        evaluation_images=min(method.evaluation_images, sizes.images or method.evaluation_images),
    )
