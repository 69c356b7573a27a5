"""The methods by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from tailor.errors import UnknownNameError
from tailor.methods.recipe import GradualConfig, Method
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

__all__ = ["METHODS", "method_named"]

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(name="lacp", summary="evolution over the treads' edges of the latency staircase (2021)"),
        Method(
            name="halp",
            summary="BatchNorm-Taylor knapsack in 30 steps while training, HALP's own solver (2022)",
            importance="bn-taylor",
            residual="free",
            scale="raw",
            search=KnapsackConfig(steps=30, solver="heuristic"),
            gradual=GradualConfig(),
        ),
        Method(
            name="smcp",
            summary="soft masks over input channels, re-solved while training, that may come back (2022)",
            importance="input-taylor",
            residual="free",
            scale="raw",
            search=KnapsackConfig(steps=30, side="inputs"),
            gradual=GradualConfig(soft=True, settling=15),
        ),
        Method(
            name="mdp",
            summary="exact optimum over both widths of every layer, whole residual branches removable (2024)",
            importance="bn-taylor",
            residual="free",
            depth=True,
            keeps_first=True,
            recalibration_images=2048,
            scale="raw",
            search=OptimumConfig(),
        ),
        Method(
            name="sp-lamp",
            summary="group knapsack of layer-adaptive filter scores under the latency limit (2023)",
            importance="sp-lamp",
            scale="raw",
            search=KnapsackConfig(steps=10),
        ),
        Method(
            name="netadapt",
            summary="single groups meet a limit that is tightened step by step; the best step stays (2018)",
            importance="l2",
            fitness="short-training",
            short_epochs=1,
            search=NetAdaptConfig(),
        ),
        Method(
            name="eagleeye",
            summary="random structures just below the limit, ranked after BatchNorm recalibration (2020)",
            grid="all",
            search=AcceptanceConfig(),
        ),
        Method(
            name="metapruning-evolution",
            summary="MetaPruning's evolution, 20 cycles of 50, with inherited weights (2019)",
            grid="all",
            search=EvolutionConfig(cycles=20, population=50, mutations=25, crossovers=25),
        ),
        Method(
            name="abcpruner",
            summary="bee colony over tenths of the widths, filters inherited at random, short training (2020)",
            importance="random",
            fitness="short-training",
            grid="tenths",
            search=BeeColonyConfig(),
        ),
        Method(
            name="bayesian",
            summary="Gaussian process with a cooled latency limit, on channels (after Chen et al., 2018)",
            search=BayesianConfig(),
        ),
        Method(
            name="taylor",
            summary="global ranking of gates by squared Taylor saliency, whatever they cost (2019)",
            importance="gate-taylor",
            grid="all",
            scale="raw",
            search=GreedyConfig(price="units"),
        ),
        Method(
            name="flops",
            summary="control: saliency per multiply-accumulate instead of per nanosecond",
            importance="gate-taylor",
            grid="all",
            scale="raw",
            search=GreedyConfig(price="macs"),
        ),
        Method(
            name="l1",
            summary="global ranking of filters by L1 norm over their group's mean (after Li et al., 2017)",
            grid="all",
            search=GreedyConfig(price="units"),
        ),
        Method(
            name="hrank",
            summary="one keep ratio for all, channels chosen by the rank of their feature maps (2020)",
            importance="hrank",
            grid="all",
            search=UniformConfig(),
        ),
        Method(
            name="uniform",
            summary="control: one keep ratio for all groups, channels chosen by L1 norm",
            grid="all",
            search=UniformConfig(),
        ),
        Method(
            name="random",
            summary="control: as many random structures within the budget, scored as lacp's",
            search=RandomSearchConfig(),
        ),
    )
}


def method_named(name: str) -> Method:
    """The recipe of this name.

    Raises:
        UnknownNameError: listing the names there are, the closest first when one is close.
    """
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UnknownNameError(f"no method {name!r}; {hint}known are {', '.join(METHODS)}", value=name)
