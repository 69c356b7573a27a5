"""The uniform control finds the largest ratio that keeps the limit."""

from __future__ import annotations

import pytest
from strategy_suite import CANDIDATES, problem_of

from tailor.search import Uniform, run_search


@pytest.mark.parametrize("share", [0.9, 0.5, 0.26])
def test_one_ratio_for_all_groups_as_large_as_the_limit_allows(share: float) -> None:
    problem = problem_of(share=share)
    result = run_search(problem, Uniform(problem.space()))
    assert (len(result.trials), result.planned, result.notices) == (1, 1, ())
    widths = result.trials[0].widths
    assert len({widths[group] for group in problem.space().free}) == 1
    kept = max(width for width in CANDIDATES["layer0"] if 8 * 1000 * width <= problem.limit_ns)
    assert widths["layer0"] == kept
