"""Branches in the solver: groups that go together or not at all, against listing every choice."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Mapping

import numpy as np
import pytest
from planted_problems import COSTS, planted

from tailor.latency.factors import together_at_zero
from tailor.solver import WidthProblem, solve_front, solve_milp

Branches = list[tuple[str, ...]]


def branched(cost: str, seed: int) -> tuple[WidthProblem, WidthProblem, Branches]:
    """A planted problem in which some groups are the inside of a removable branch: as solved, as listed, and which."""
    problem, draw = planted("residual", cost, seed), random.Random(seed)
    groups = list(problem.candidates)
    draw.shuffle(groups)
    branches = [tuple(groups[:3])] if seed % 2 else [tuple(groups[:2]), tuple(groups[2:4])]
    candidates = {
        group: tuple(sorted({0, *widths})) if any(group in branch for branch in branches) else widths
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
    free = WidthProblem(
        candidates=candidates, values=values, factors=dataclasses.replace(problem.factors, terms=terms)
    )
    factors = together_at_zero(free.factors, candidates, branches)
    return dataclasses.replace(free, factors=factors), free, branches


def whole(widths: Mapping[str, int], branches: Branches) -> bool:
    """Whether every branch is there, or gone, as a whole."""
    return all(len({widths[group] > 0 for group in branch}) == 1 for branch in branches)


def listed(problem: WidthProblem, branches: Branches) -> list[tuple[int, float]]:
    """(latency, value) of every choice of whole branches that no other such choice beats."""
    rows = itertools.product(*problem.candidates.values())
    every = (dict(zip(problem.candidates, row, strict=True)) for row in rows)
    points = sorted((problem.latency_ns(w), -problem.value(w)) for w in every if whole(w, branches))
    front: list[tuple[int, float]] = []
    for latency, negated in points:
        if not front or -negated > front[-1][1] + 1e-9:
            front.append((latency, -negated))
    return front


@pytest.mark.parametrize("cost", list(COSTS))
def test_the_front_is_that_of_the_choices_that_keep_branches_whole(cost: str) -> None:
    removed = 0
    for seed in range(20):
        problem, free, branches = branched(cost, seed)
        front, expected = solve_front(problem), listed(free, branches)
        found = [front.solution(index) for index in range(len(front))]
        assert [solution.latency_ns for solution in found] == [latency for latency, _ in expected], seed
        np.testing.assert_allclose([solution.value for solution in found], [value for _, value in expected], rtol=1e-9)
        assert all(whole(solution.widths, branches) and problem.allows(solution.widths) for solution in found)
        removed += sum(0 in solution.widths.values() for solution in found)
    assert removed  # some answers do lack a branch


@pytest.mark.parametrize("cost", ["launch cost", "non-monotone"])
def test_mixed_integer_programming_keeps_branches_whole_too(cost: str) -> None:
    for seed in range(6):
        problem, _, branches = branched(cost, seed)
        front = solve_front(problem)
        for index in (0, len(front) // 2, len(front) - 1):
            best = front.solution(index)
            found = solve_milp(problem, best.latency_ns)
            assert whole(found.widths, branches)
            assert found.value == pytest.approx(best.value, rel=1e-6)
