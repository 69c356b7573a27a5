"""The uniform control finds the largest ratio that keeps the limit."""

from __future__ import annotations

import pytest
from strategy_suite import CANDIDATES, problem_of

from tailor.errors import InvalidOptionError
from tailor.search import Uniform, UniformConfig, run_search


@pytest.mark.parametrize("share", [0.9, 0.5, 0.26])
def test_one_ratio_for_all_groups_as_large_as_the_limit_allows(share: float) -> None:
    problem = problem_of(share=share)
    result = run_search(problem, Uniform(problem.space(), UniformConfig(structures=1)))
    assert (len(result.trials), result.planned, result.notices) == (1, 1, ())
    widths = result.trials[0].widths
    assert len({widths[group] for group in problem.space().free}) == 1
    kept = max(width for width in CANDIDATES["layer0"] if 8 * 1000 * width <= problem.limit_ns)
    assert widths["layer0"] == kept


def test_further_answers_are_those_to_tighter_limits() -> None:
    problem = problem_of(share=0.9)
    config = UniformConfig(structures=3, step=0.3)
    found = [dict(proposal.widths) for proposal in Uniform(problem.space(), config).ask()]
    for widths, share in zip(found, (0.9, 0.9 * 0.7, 0.9 * 0.4), strict=True):
        alone = problem_of(share=share)
        assert [widths] == [dict(each.widths) for each in Uniform(alone.space(), UniformConfig(structures=1)).ask()]


@pytest.mark.parametrize("changes", [{"structures": 0}, {"step": 0.0}, {"step": 1.0}])
def test_a_ladder_without_rungs_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidOptionError, match="must be"):
        UniformConfig(**changes)  # type: ignore[arg-type]
