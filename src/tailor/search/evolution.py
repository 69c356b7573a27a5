"""Evolution as LACP uses it: a random first population, then children by mutation and crossover of the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Evolution", "EvolutionConfig"]

CHILD_TRIES = 50  # attempts at a new feasible child before a random structure takes its place


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionConfig:
    """Sizes and rates; the defaults are LACP's 10 cycles of 30, 15 by mutation and 15 by crossover.

    `elite` is how many of the best trials so far may be parents; each width of a mutated child is drawn anew with
    probability `mutation_rate`. The paper gives neither; 10 and 0.1 are MetaPruning's, whose half-and-half split
    LACP shares. `repair` narrows a child that is over the limit until it fits, and widens every child until nothing
    more fits, instead of rejecting the one and leaving the other as it is: ours too, and it finds more where the
    optimum is known (tests/search/test_against_optimum.py).
    """

    cycles: int = 10
    population: int = 30
    mutations: int = 15
    crossovers: int = 15
    elite: int = 10
    mutation_rate: float = 0.1
    repair: bool = True

    def __post_init__(self) -> None:
        for name, least in (("cycles", 1), ("population", 1), ("mutations", 0), ("crossovers", 0), ("elite", 1)):
            value = getattr(self, name)
            if value < least:
                raise InvalidOptionError(f"{name} must be at least {least}, not {value}", value=value)
        if not 0 < self.mutation_rate <= 1:
            message = f"mutation_rate must be above 0 and at most 1, not {self.mutation_rate}"
            raise InvalidOptionError(message, value=self.mutation_rate)
        if self.mutations + self.crossovers != self.population:
            message = (
                f"mutations + crossovers must be the population of {self.population}, "
                f"not {self.mutations} + {self.crossovers}"
            )
            raise InvalidOptionError(message, value=self.mutations + self.crossovers)


class Evolution:
    """Asks for one population at a time and learns from all that it is told; structures never repeat.

    Cycle 0 is the random population. Every cycle draws from its own stream of (seed, cycle), so `ask` is a pure
    function of the trials told: asked twice, or after a resume, it answers the same.
    """

    def __init__(self, space: SearchSpace, config: EvolutionConfig, *, seed: int) -> None:
        self._space = space
        self._config = config
        self._seed = seed
        self._cycle = 0
        self._trials: list[Trial] = []

    @property
    def planned(self) -> int:
        """Cycles times population."""
        return self._config.cycles * self._config.population

    @property
    def description(self) -> str:
        """Name and options."""
        return f"evolution, seed {self._seed}, {self._config}"

    def ask(self) -> tuple[Proposal, ...]:
        """The next population; smaller when the space runs out, empty when the search is over."""
        if self._cycle >= self._config.cycles:
            return ()
        rng = np.random.default_rng((self._seed, self._cycle))
        seen = {Widths(trial.widths) for trial in self._trials}
        parents = self._parents() if self._cycle else ()
        proposals: list[Proposal] = []
        for number in range(self._config.population):
            child = self._child("mutation" if number < self._config.mutations else "crossover", parents, rng, seen)
            drawn = child or self._space.draw(rng, seen)
            if drawn is None:
                break
            seen.add(drawn[0])
            proposals.append(Proposal(widths=drawn[0], origin=drawn[1], cycle=self._cycle))
        return tuple(proposals)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take in one whole population."""
        self._trials.extend(trials)
        self._cycle += 1

    def _parents(self) -> tuple[Widths, ...]:
        """The best trials so far; of equals the faster, then the earlier."""
        scored = [trial for trial in self._trials if trial.score is not None]
        scored.sort(key=lambda trial: (-(trial.score or 0.0), trial.latency.ns, trial.number))
        return tuple(Widths(trial.widths) for trial in scored[: self._config.elite])

    def _child(
        self, origin: str, parents: tuple[Widths, ...], rng: np.random.Generator, seen: set[Widths]
    ) -> tuple[Widths, str] | None:
        """A new feasible child, or None when the parents yield none."""
        if len(parents) < (1 if origin == "mutation" else 2):
            return None
        for _ in range(CHILD_TRIES):
            if origin == "mutation":
                child = self._mutated(parents[rng.integers(len(parents))], rng)
            else:
                first, second = rng.choice(len(parents), size=2, replace=False)
                child = _crossed(parents[first], parents[second], rng)
            repaired = self._repaired(child, rng) if self._config.repair else child
            if repaired is not None and repaired not in seen and self._space.feasible(repaired):
                return repaired, origin
        return None

    def _repaired(self, child: Widths, rng: np.random.Generator) -> Widths | None:
        """The child as wide as the limit lets it be; None when no width fits."""
        fitting = self._space.narrowed(child, rng)
        return None if fitting is None else self._space.filled(fitting, rng)

    def _mutated(self, parent: Widths, rng: np.random.Generator) -> Widths:
        chosen = [group for group in self._space.free if rng.random() < self._config.mutation_rate]
        return parent.but({group: int(rng.choice(self._space.candidates[group])) for group in chosen})


def _crossed(first: Widths, second: Widths, rng: np.random.Generator) -> Widths:
    """Uniform crossover: each width comes from either parent with equal chance."""
    return Widths({group: (first if rng.random() < 0.5 else second)[group] for group in first})
