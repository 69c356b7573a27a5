"""Artificial bee colony as ABCPruner uses it: sources are improved gene by gene, given up after repeated failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["BeeColony", "BeeColonyConfig"]

_TRIES = 50  # attempts at a new feasible neighbour before a random structure takes its place


@dataclass(frozen=True, slots=True, kw_only=True)
class BeeColonyConfig:
    """Sizes; the defaults are those of ABCPruner's code under LACP's cap of about 300 structures.

    `cycles` of employed and onlooker bees over so many `sources`; a neighbour changes so many `genes`; a source is
    given up after so many `failures` in a row.
    """

    sources: int = 10
    cycles: int = 15
    genes: int = 2
    failures: int = 5

    def __post_init__(self) -> None:
        for name, least in (("sources", 2), ("cycles", 1), ("genes", 1), ("failures", 1)):
            value = getattr(self, name)
            if value < least:
                raise InvalidOptionError(f"{name} must be at least {least}, not {value}", value=value)


@dataclass(slots=True)
class _Source:
    """A structure that the colony feeds on, its score, and how often no neighbour of it was better."""

    widths: Widths
    score: float
    failures: int = 0


class BeeColony:
    """Cycle 0 finds the sources at random; then employed and onlooker bees take turns, scouts replace the exhausted.

    A neighbour moves some genes (places in a group's candidates) by a random share of the distance to another source,
    and replaces its source when it scores higher (Karaboga 2005; Lin et al. 2020, "Channel Pruning via Automatic
    Structure Search"). Unlike their code, every group's last gene can change and scores never see test images.
    """

    def __init__(self, space: SearchSpace, config: BeeColonyConfig, *, seed: int) -> None:
        self._space = space
        self._config = config
        self._seed = seed
        self._turn = 0  # 0 the first sources, then employed (odd) and onlookers (even)
        self._seen: set[Widths] = set()
        self._sources: list[_Source] = []

    @property
    def planned(self) -> int:
        """The sources, and two neighbours of each per cycle."""
        return self._config.sources * (1 + 2 * self._config.cycles)

    @property
    def description(self) -> str:
        """Name and options."""
        return f"bee colony, seed {self._seed}, {self._config}"

    def ask(self) -> tuple[Proposal, ...]:
        """One structure per source: new ones, neighbours of each, or neighbours of those that scored well."""
        if self._turn > 2 * self._config.cycles:
            return ()
        rng = np.random.default_rng((self._seed, self._turn))
        seen = set(self._seen)
        proposals: list[Proposal] = []
        for place in self._visited(rng):
            found = self._near(place, rng, seen) or self._space.draw(rng, seen)
            if found is None:
                break
            seen.add(found[0])
            proposals.append(Proposal(widths=found[0], origin=found[1], cycle=self._turn))
        return tuple(proposals)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Replace the sources that were improved on; give up those that failed too often."""
        visited = self._visited(np.random.default_rng((self._seed, self._turn)))
        for place, trial in zip(visited, trials, strict=False):
            self._take(place, trial)
        self._seen.update(Widths(trial.widths) for trial in trials)
        self._turn += 1

    def _take(self, place: int, trial: Trial) -> None:
        score = -np.inf if trial.score is None else trial.score
        if place >= len(self._sources):
            self._sources.append(_Source(Widths(trial.widths), score))
            return
        source = self._sources[place]
        if score > source.score or self._given_up(source):
            self._sources[place] = _Source(Widths(trial.widths), score)
        else:
            source.failures += 1

    def _given_up(self, source: _Source) -> bool:
        return source.failures >= self._config.failures and self._turn % 2 == 1

    def _visited(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The sources of this turn: each once, or drawn in favour of high scores."""
        count = self._config.sources
        if self._turn == 0 or self._turn % 2 or len(self._sources) < count:
            return tuple(range(count))
        scores = np.array([source.score for source in self._sources])
        finite = np.where(np.isfinite(scores), scores, 0.0)
        chance = 0.9 * finite / max(finite.max(), 1e-12) + 0.1 if finite.max() > 0 else np.ones(count)
        chance = np.maximum(chance, 1e-6)
        return tuple(int(place) for place in rng.choice(count, size=count, p=chance / chance.sum()))

    def _near(self, place: int, rng: np.random.Generator, seen: set[Widths]) -> tuple[Widths, str] | None:
        """A new feasible neighbour of a source; None for a source that is not there yet or is given up."""
        if place >= len(self._sources) or len(self._sources) < 2:
            return None
        source = self._sources[place]
        if self._given_up(source):  # a scout flies out
            return None
        for _ in range(_TRIES):
            other = self._sources[int(rng.integers(len(self._sources)))].widths
            neighbour = self._moved(source.widths, other, rng)
            if neighbour not in seen and self._space.feasible(neighbour):
                return neighbour, "employed" if self._turn % 2 else "onlooker"
        return None

    def _moved(self, source: Widths, other: Widths, rng: np.random.Generator) -> Widths:
        free = self._space.free
        genes = rng.choice(len(free), size=min(self._config.genes, len(free)), replace=False)
        changes = {}
        for gene in genes:
            group = free[int(gene)]
            steps = self._space.candidates[group]
            own, theirs = steps.index(source[group]), steps.index(other[group])
            moved = round(own + rng.uniform(-1, 1) * (own - theirs))
            changes[group] = steps[min(max(moved, 0), len(steps) - 1)]
        return source.but(changes)
