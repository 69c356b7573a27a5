"""Random search keeps the laws of a strategy and ignores scores."""

import pytest
from strategy_suite import StrategySuite, problem_of

from tailor.errors import InvalidOptionError
from tailor.search import RandomSearch, RandomSearchConfig, SearchSpace, run_search


class TestRandomSearch(StrategySuite):
    def make(self, space: SearchSpace, *, seed: int) -> RandomSearch:
        return RandomSearch(space, RandomSearchConfig(structures=40, batch=10), seed=seed)


def test_scores_change_nothing():
    kept, turned = problem_of(), problem_of()
    turned.evaluator.score = lambda widths: -float(sum(widths.values()))
    searches = [
        run_search(problem, RandomSearch(problem.space(), RandomSearchConfig(structures=35), seed=0))
        for problem in (kept, turned)
    ]
    first, second = ([trial.widths for trial in result.trials] for result in searches)
    assert first == second
    assert len(first) == 35  # a batch of 30 and one of 5


@pytest.mark.parametrize("changes", [{"structures": 0}, {"batch": 0}])
def test_a_config_without_meaning_is_refused(changes):
    with pytest.raises(InvalidOptionError, match="must be at least 1, not 0"):
        RandomSearchConfig(**changes)
