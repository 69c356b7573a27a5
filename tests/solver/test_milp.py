"""Mixed-integer programming finds what elimination finds."""

from __future__ import annotations

import pytest
from planted_problems import COSTS, SHAPES, planted

from tailor.errors import BudgetUnreachableError
from tailor.solver import solve_front, solve_milp


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cost", list(COSTS))
def test_both_solvers_find_the_same_value_within_the_limit(shape: str, cost: str) -> None:
    for seed in range(3):
        problem = planted(shape, cost, seed)
        front = solve_front(problem)
        low, high = int(front.latency_ns[0]), int(front.latency_ns[-1])
        for limit in (low, low + (high - low) // 3, low + 2 * (high - low) // 3, high):
            exact, found = front.best(limit), solve_milp(problem, limit)
            assert found.value == pytest.approx(exact.value, rel=1e-6, abs=1e-9), (seed, limit)
            assert found.latency_ns == problem.latency_ns(found.widths) <= limit
            assert found.gap <= 1e-6


def test_an_unreachable_budget_names_the_smallest_latency() -> None:
    problem = planted("residual", "staircase", 0)
    smallest = int(solve_front(problem).latency_ns[0])
    with pytest.raises(BudgetUnreachableError, match="smallest latency") as raised:
        solve_milp(problem, smallest - 1)
    assert raised.value.value == smallest
