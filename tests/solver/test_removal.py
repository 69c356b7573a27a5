"""Branches in the solver: groups that go together or not at all, against listing every choice."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pytest
from planted_problems import COSTS, listed, planted

from tailor.latency.factors import together_at_zero
from tailor.solver import WidthProblem, solve_front, solve_milp


def branched(cost: str, seed: int) -> WidthProblem:
    """A planted problem in which some pairs of groups are the inside of a removable branch."""
    problem, draw = planted("residual", cost, seed), random.Random(seed)
    groups = list(problem.candidates)
    draw.shuffle(groups)
    pairs = list(itertools.pairwise(groups[:3])) if seed % 2 else [tuple(groups[:2]), tuple(groups[2:4])]
    candidates = {
        group: tuple(sorted({0, *widths})) if any(group in pair for pair in pairs) else widths
        for group, widths in problem.candidates.items()
    }
    values = {group: tuple(sorted(draw.random() for _ in widths)) for group, widths in candidates.items()}
    scale = {term.groups: draw.uniform(0.5, 2.0) for term in problem.factors.terms}

    def ns(groups: tuple[str, ...], widths: tuple[int, ...]) -> int:
        return round(scale[groups] * COSTS[cost](widths[0], widths[-1]))

    terms = tuple(
        dataclasses.replace(
            term,
            ns={w: ns(term.groups, w) for w in itertools.product(*(candidates[group] for group in term.groups))},
        )
        for term in problem.factors.terms
    )
    factors = together_at_zero(dataclasses.replace(problem.factors, terms=terms), candidates, pairs)
    return WidthProblem(candidates=candidates, values=values, factors=factors)


def listed_allowed(problem: WidthProblem) -> list[tuple[int, float]]:
    """What listing gives when forbidden combinations cost more than anything."""
    dear = 10**12
    terms = tuple(
        dataclasses.replace(
            term,
            ns=dict.fromkeys(itertools.product(*(problem.candidates[g] for g in term.groups)), dear) | dict(term.ns),
        )
        for term in problem.factors.terms
    )
    every = dataclasses.replace(problem, factors=dataclasses.replace(problem.factors, terms=terms))
    return [point for point in listed(every) if point[0] < dear // 2]


@pytest.mark.parametrize("cost", list(COSTS))
def test_the_front_is_that_of_the_choices_that_keep_branches_whole(cost: str) -> None:
    removed = 0
    for seed in range(20):
        problem = branched(cost, seed)
        front, expected = solve_front(problem), listed_allowed(problem)
        found = [front.solution(index) for index in range(len(front))]
        assert [solution.latency_ns for solution in found] == [latency for latency, _ in expected], seed
        np.testing.assert_allclose([solution.value for solution in found], [value for _, value in expected], rtol=1e-9)
        assert all(problem.allows(solution.widths) for solution in found)
        removed += sum(0 in solution.widths.values() for solution in found)
    assert removed  # some answers do lack a branch


@pytest.mark.parametrize("cost", ["launch cost", "non-monotone"])
def test_mixed_integer_programming_keeps_branches_whole_too(cost: str) -> None:
    for seed in range(6):
        problem = branched(cost, seed)
        front = solve_front(problem)
        for index in (0, len(front) // 2, len(front) - 1):
            best = front.solution(index)
            found = solve_milp(problem, best.latency_ns)
            assert problem.allows(found.widths)
            assert found.value == pytest.approx(best.value, rel=1e-6)
