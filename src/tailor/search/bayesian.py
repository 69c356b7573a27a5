"""Constrained Bayesian optimisation of the widths with a cooled limit, after Chen et al. (2018)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tailor.errors import InvalidOptionError
from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.space import SearchSpace
from tailor.spec import Widths

if TYPE_CHECKING:
    from sklearn.gaussian_process.kernels import Kernel

__all__ = ["Bayesian", "BayesianConfig"]

FloatArray = npt.NDArray[np.float64]

_GOOD = 10  # structures whose neighbours are looked at
_MOVED = 0.15  # chance of each width to be drawn anew in a neighbour of a good structure


@dataclass(frozen=True, slots=True, kw_only=True)
class BayesianConfig:
    """Random structures first, then so many proposals of the Gaussian process in so many rounds.

    In round t of T the limit is C + (L0 - C) e^(-k (t + 1)) + (C - L0) e^(-k T): it cools from near the dense latency
    L0 to the limit C at `cooling` k per round. Expected improvement is maximised over a pool of so many structures.
    """

    seeds: int = 20
    rounds: int = 10
    proposals: int = 20
    cooling: float = 0.7
    pool: int = 600

    def __post_init__(self) -> None:
        for name in ("seeds", "rounds", "proposals", "pool"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)
        if not self.cooling > 0:
            raise InvalidOptionError(f"cooling must be above 0, not {self.cooling}", value=self.cooling)


class Bayesian:
    """A Gaussian process learns the score over keep ratios; the latency constraint is known and only cooled.

    (Chen et al. 2018, "Constraint-Aware Deep Neural Network Compression", there over thresholds of sparse weights and
    with fine-tuning between rounds.) Structures on the way are over the final limit and are scored nevertheless; the
    last round keeps it.
    """

    def __init__(self, space: SearchSpace, config: BayesianConfig, *, seed: int) -> None:
        self._space = space
        self._config = config
        self._seed = seed
        self._cycle = 0
        self._trials: list[Trial] = []
        dense = Widths({group: steps[-1] for group, steps in space.candidates.items()})
        self._dense_ns = space.latency_ns(dense)

    @property
    def planned(self) -> int:
        """Seeds and all rounds' proposals."""
        return self._config.seeds + self._config.rounds * self._config.proposals

    @property
    def description(self) -> str:
        """Name and options."""
        return f"bayesian, seed {self._seed}, {self._config}"

    def limit_ns(self, round_number: int) -> float:
        """The limit of a round, from 0; in the last one it is the space's own."""
        final, k, rounds = self._space.limit_ns, self._config.cooling, self._config.rounds
        if round_number >= rounds - 1:
            return float(final)
        span = max(0, self._dense_ns - final)
        return final + span * math.exp(-k * (round_number + 1)) - span * math.exp(-k * rounds)

    def ask(self) -> tuple[Proposal, ...]:
        """Random structures first, then those of highest expected improvement; empty when the search is over."""
        if self._cycle > self._config.rounds:
            return ()
        rng = np.random.default_rng((self._seed, self._cycle))
        space = self._space.within(round(self.limit_ns(max(0, self._cycle - 1))))
        wanted = self._config.proposals if self._cycle else self._config.seeds
        seen = {Widths(trial.widths) for trial in self._trials}
        pool = self._pool(space, rng, seen, self._config.pool if self._cycle else wanted)
        promising = self._promising(pool, wanted) if self._cycle else pool
        origin = "expected improvement" if self._cycle else "random"
        return tuple(Proposal(widths=widths, origin=origin, cycle=self._cycle, beyond=True) for widths in promising)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take in one round."""
        self._trials.extend(trials)
        self._cycle += 1

    def _pool(
        self, space: SearchSpace, rng: np.random.Generator, seen: Set[Widths], size: int
    ) -> list[Widths]:
        """New structures within the round's limit: drawn at random, and near the best so far."""
        taken, pool = set(seen), []
        scored = sorted((t for t in self._trials if t.score is not None), key=lambda t: (-(t.score or 0.0), t.number))
        good = [Widths(trial.widths) for trial in scored[:_GOOD]]
        for number in range(size):
            found = self._neighbour(space, good, rng) if good and number % 2 else None
            if found is None or found in taken:
                drawn = space.draw(rng, taken)
                if drawn is None:
                    break
                found = drawn[0]
            taken.add(found)
            pool.append(found)
        return pool

    def _neighbour(self, space: SearchSpace, good: Sequence[Widths], rng: np.random.Generator) -> Widths | None:
        """A good structure with a few widths drawn anew; None when that is over the round's limit."""
        parent = good[int(rng.integers(len(good)))]
        moved = {g: int(rng.choice(space.candidates[g])) for g in space.free if rng.random() < _MOVED}
        widths = parent.but(moved)
        return widths if space.feasible(widths) else None

    def _promising(self, pool: Sequence[Widths], wanted: int) -> list[Widths]:
        """One after the other, by expected improvement; each one chosen is believed to score as predicted."""
        from scipy.stats import norm  # here: it takes as long to import as all of tailor
        from sklearn.gaussian_process import GaussianProcessRegressor

        scored = [trial for trial in self._trials if trial.score is not None]
        if not scored or len(pool) <= wanted:
            return list(pool[:wanted])
        known = np.array([self._ratios(trial.widths) for trial in scored])
        scores = np.array([trial.score for trial in scored], dtype=float)
        centre, spread = float(scores.mean()), float(scores.std()) or 1.0
        scores = (scores - centre) / spread
        kernel = _fitted_kernel(known, scores, self._seed)
        places = np.array([self._ratios(widths) for widths in pool])
        chosen: list[int] = []
        for _ in range(wanted):
            process = GaussianProcessRegressor(kernel, optimizer=None).fit(known, scores)
            mean, deviation = process.predict(places, return_std=True)
            gain = (mean - scores.max()) / np.maximum(deviation, 1e-9)
            expected = deviation * (gain * norm.cdf(gain) + norm.pdf(gain))
            expected[chosen] = -np.inf
            best = int(np.argmax(expected))
            chosen.append(best)
            known, scores = np.vstack([known, places[best]]), np.append(scores, mean[best])
        return [pool[place] for place in chosen]

    def _ratios(self, widths: Mapping[str, int]) -> list[float]:
        """Keep ratios of the free groups, 0 to 1."""
        return [widths[group] / self._space.candidates[group][-1] for group in self._space.free]


def _fitted_kernel(known: FloatArray, scores: FloatArray, seed: int) -> Kernel:
    """Scale, length and noise of the process, by maximum likelihood."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    start = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(1.0, (1e-2, 1e2), nu=2.5) + WhiteKernel(1e-2, (1e-5, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound says "flat", which is an answer
        return GaussianProcessRegressor(start, random_state=seed).fit(known, scores).kernel_
