"""Bayesian optimisation keeps the laws of a strategy, cools its limit, and learns from scores."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_suite import DENSE_NS, StrategySuite, problem_of

from tailor.errors import InvalidOptionError
from tailor.search import Bayesian, BayesianConfig, RandomSearch, RandomSearchConfig, SearchSpace, run_search


class TestBayesian(StrategySuite):
    def make(self, space: SearchSpace, *, seed: int) -> Bayesian:
        config = BayesianConfig(seeds=10, rounds=3, proposals=10, cooling=100.0, pool=60)
        return Bayesian(space, config, seed=seed)


def test_the_limit_cools_from_near_the_dense_latency_to_the_budget() -> None:
    problem = problem_of(share=0.4)
    strategy = Bayesian(problem.space(), BayesianConfig(rounds=6, cooling=0.7), seed=0)
    limits = [strategy.limit_ns(number) for number in range(6)]
    assert limits == sorted(limits, reverse=True)
    assert 0.6 * DENSE_NS < limits[0] < DENSE_NS
    assert limits[-1] == problem.limit_ns
    result = run_search(problem, Bayesian(problem.space(), BayesianConfig(seeds=8, rounds=4, proposals=5), seed=0))
    assert any(trial.latency.ns > problem.limit_ns for trial in result.trials)
    assert all(trial.score is not None for trial in result.trials)
    assert result.best.latency.ns <= problem.limit_ns


def test_it_beats_as_many_random_structures() -> None:
    learnt, chance = [], []
    for seed in range(3):
        problem = problem_of(seed=seed)
        config = BayesianConfig(seeds=20, rounds=5, proposals=10, cooling=2.0, pool=200)
        learnt.append(run_search(problem, Bayesian(problem.space(), config, seed=seed)).best.score)
        drawn = RandomSearch(problem.space(), RandomSearchConfig(structures=70), seed=seed)
        chance.append(run_search(problem, drawn).best.score)
    assert np.mean(learnt) > np.mean(chance), (learnt, chance)


@pytest.mark.parametrize("changes", [{"seeds": 0}, {"rounds": 0}, {"proposals": 0}, {"pool": 0}, {"cooling": 0.0}])
def test_a_config_without_meaning_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidOptionError, match="must be"):
        BayesianConfig(**changes)
