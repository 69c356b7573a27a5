"""Makes a method's strategy over a space, and resizes its search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tailor.errors import InvalidOptionError
from tailor.latency.anchored import SummedLatency
from tailor.methods.counting import Counts
from tailor.methods.recipe import Method, SearchConfig
from tailor.protocols import Strategy
from tailor.search import (
    Acceptance,
    AcceptanceConfig,
    Bayesian,
    BayesianConfig,
    BeeColony,
    BeeColonyConfig,
    Evolution,
    EvolutionConfig,
    Greedy,
    GreedyConfig,
    Knapsack,
    KnapsackConfig,
    NetAdapt,
    NetAdaptConfig,
    Optimum,
    OptimumConfig,
    RandomSearch,
    RandomSearchConfig,
    SearchSpace,
    Uniform,
    UniformConfig,
)
from tailor.spec import ChannelGraph, Widths

__all__ = ["Ground", "resized", "solved_by", "strategy_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What strategies that compute their answer stand on: the network, its latency model, and channels' values.

    `values` maps each group to the value of each of its candidates, in order.
    """

    graph: ChannelGraph
    latency: SummedLatency
    values: Mapping[str, tuple[float, ...]]


def strategy_of(method: Method, space: SearchSpace, ground: Ground, *, seed: int) -> Strategy:
    """The method's search over this space."""
    return _MAKERS[type(method.search)](method.search, space, ground, seed)


def resized(config: SearchConfig, *, cycles: int | None, population: int | None) -> SearchConfig:
    """The same search with other sizes; None leaves one as it is.

    Raises:
        InvalidOptionError: the search has no populations.
    """
    if cycles is None and population is None:
        return config
    if type(config) not in _RESIZERS:
        name = type(config).__name__.removesuffix("Config").lower()
        raise InvalidOptionError(
            f"{name} has neither cycles nor a population; leave both out", value=cycles or population
        )
    return _RESIZERS[type(config)](config, cycles, population)


def solved_by(config: SearchConfig, solver: str) -> SearchConfig:
    """The same knapsack with another solver.

    Raises:
        InvalidOptionError: the search is no knapsack, or there is no such solver.
    """
    if not isinstance(config, KnapsackConfig):
        name = type(config).__name__.removesuffix("Config").lower()
        raise InvalidOptionError(f"{name} solves no knapsack; leave the solver out", value=solver)
    return replace(config, solver=solver)


def _units(widths: Mapping[str, int]) -> float:
    """Units of all groups: a channel of a stream counts once, however many layers it runs through."""
    return float(sum(widths.values()))


def _greedy(config: GreedyConfig, space: SearchSpace, ground: Ground, seed: int) -> Strategy:
    counts = Counts(ground.graph)
    prices: Mapping[str, Callable[[Widths], float]] = {"units": _units, "macs": counts.macs}
    return Greedy(space, ground.values, prices[config.price], config)


_Maker = Callable[[object, SearchSpace, Ground, int], Strategy]
_MAKERS: Mapping[type, Callable[..., Strategy]] = {
    AcceptanceConfig: lambda config, space, ground, seed: Acceptance(space, config, seed=seed),
    BayesianConfig: lambda config, space, ground, seed: Bayesian(space, config, seed=seed),
    BeeColonyConfig: lambda config, space, ground, seed: BeeColony(space, config, seed=seed),
    EvolutionConfig: lambda config, space, ground, seed: Evolution(space, config, seed=seed),
    GreedyConfig: _greedy,
    KnapsackConfig: lambda config, space, ground, seed: Knapsack(space, ground.values, ground.latency, config),
    NetAdaptConfig: lambda config, space, ground, seed: NetAdapt(space, config),
    OptimumConfig: lambda config, space, ground, seed: Optimum(
        space, ground.values, ground.latency, config, branches=[branch.groups for branch in ground.graph.removable]
    ),
    RandomSearchConfig: lambda config, space, ground, seed: RandomSearch(space, config, seed=seed),
    UniformConfig: lambda config, space, ground, seed: Uniform(space, config),
}


def _drawn(
    config: RandomSearchConfig | AcceptanceConfig, cycles: int | None, population: int | None
) -> RandomSearchConfig | AcceptanceConfig:
    batch = population or config.batch
    return replace(config, batch=batch, structures=batch * (cycles or config.structures // config.batch))


def _evolved(config: EvolutionConfig, cycles: int | None, population: int | None) -> EvolutionConfig:
    size = population or config.population
    return replace(
        config,
        cycles=cycles or config.cycles,
        population=size,
        mutations=size // 2,
        crossovers=size - size // 2,
        elite=min(config.elite, size),
    )


def _foraged(config: BeeColonyConfig, cycles: int | None, population: int | None) -> BeeColonyConfig:
    return replace(config, cycles=cycles or config.cycles, sources=population or config.sources)


def _modelled(config: BayesianConfig, cycles: int | None, population: int | None) -> BayesianConfig:
    size = population or config.proposals
    return replace(config, rounds=cycles or config.rounds, proposals=size, seeds=population or config.seeds)


def _laddered(config: OptimumConfig, cycles: int | None, population: int | None) -> OptimumConfig:
    if cycles is not None:
        raise InvalidOptionError("the exact solver has no cycles; leave them out", value=cycles)
    return replace(config, structures=population or config.structures)


def _stepped(config: KnapsackConfig, cycles: int | None, population: int | None) -> KnapsackConfig:
    """A knapsack's cycles are its steps, its population the structures that it proposes."""
    return replace(config, steps=cycles or config.steps, structures=population or config.structures)


_RESIZERS: Mapping[type, Callable[..., SearchConfig]] = {
    AcceptanceConfig: _drawn,
    BayesianConfig: _modelled,
    BeeColonyConfig: _foraged,
    EvolutionConfig: _evolved,
    KnapsackConfig: _stepped,
    OptimumConfig: _laddered,
    RandomSearchConfig: _drawn,
}
