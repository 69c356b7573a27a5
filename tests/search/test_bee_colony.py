"""The bee colony keeps the laws of a strategy, improves on its sources, and gives up those that fail."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_suite import CANDIDATES, StrategySuite, problem_of, run_population

from tailor.errors import InvalidOptionError
from tailor.search import BeeColony, BeeColonyConfig, SearchSpace, run_search


class TestBeeColony(StrategySuite):
    def make(self, space: SearchSpace, *, seed: int) -> BeeColony:
        return BeeColony(space, BeeColonyConfig(sources=8, cycles=2), seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_the_sources_only_ever_improve(seed: int) -> None:
    problem = problem_of(seed=seed)
    colony = BeeColony(problem.space(), BeeColonyConfig(sources=10, cycles=10, failures=1000), seed=seed)
    means = []
    while colony.ask():
        colony.tell(run_population(problem, colony))
        means.append(np.mean([source.score for source in colony._sources]))
    assert means == sorted(means)
    assert means[-1] > 1.05 * means[0]


def test_a_neighbour_differs_from_its_source_in_the_genes_asked_for() -> None:
    problem = problem_of(share=0.9)
    colony = BeeColony(problem.space(), BeeColonyConfig(sources=6, cycles=3, genes=1), seed=0)
    colony.tell(run_population(problem, colony))
    sources = [source.widths for source in colony._sources]
    for proposal, source in zip(colony.ask(), sources, strict=True):
        if proposal.origin == "employed":
            assert sum(proposal.widths[group] != source[group] for group in CANDIDATES) <= 1


def test_a_source_that_never_improves_is_given_up() -> None:
    problem = problem_of(share=0.9)
    problem.evaluator.score = lambda widths: 1.0  # nothing is ever better
    colony = BeeColony(problem.space(), BeeColonyConfig(sources=5, cycles=12, failures=2), seed=0)
    origins = [trial.origin for trial in run_search(problem, colony).trials]
    assert origins[:5] == ["random"] * 5
    assert "random" in origins[15:]


@pytest.mark.parametrize("changes", [{"sources": 1}, {"cycles": 0}, {"genes": 0}, {"failures": 0}])
def test_a_config_without_meaning_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidOptionError, match="must be at least"):
        BeeColonyConfig(**changes)
