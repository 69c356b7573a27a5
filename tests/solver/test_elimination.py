"""The front of every problem is what listing all choices gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from planted_problems import COSTS, SHAPES, listed, planted

from tailor.errors import BudgetUnreachableError, InvalidOptionError
from tailor.latency.factors import Factor, Factors
from tailor.solver import TooWideError, WidthProblem, elimination, solve_front


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cost", list(COSTS))
def test_the_front_is_the_one_that_listing_every_choice_gives(shape: str, cost: str) -> None:
    for seed in range(20):
        problem = planted(shape, cost, seed)
        front = solve_front(problem)
        expected = listed(problem)
        found = [(front.solution(index).latency_ns, front.solution(index).value) for index in range(len(front))]
        assert [latency for latency, _ in found] == [latency for latency, _ in expected], seed
        np.testing.assert_allclose([value for _, value in found], [value for _, value in expected], rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_point_costs_and_is_worth_what_its_widths_do(shape: str) -> None:
    problem = planted(shape, "staircase", 1)
    front = solve_front(problem)
    for index in range(len(front)):
        solution = front.solution(index)
        assert problem.latency_ns(solution.widths) == solution.latency_ns
        assert problem.value(solution.widths) == solution.value
        assert front.best(solution.latency_ns) == solution
        assert solution.gap == 0.0


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = planted("residual", "non-monotone", 3)
    whole = solve_front(problem)
    monkeypatch.setattr(elimination, "_CHUNK", 5)
    pieces = solve_front(problem)
    assert pieces.latency_ns.tolist() == whole.latency_ns.tolist()
    assert [pieces.solution(i) for i in range(len(pieces))] == [whole.solution(i) for i in range(len(whole))]


def test_an_expensive_first_item_with_a_free_second_is_not_lost() -> None:
    """The staircase case on which the greedy knapsack of HALP's code fails."""
    costs = {(0,): 0, (1,): 100, (2,): 100}
    problem = WidthProblem(
        candidates={"a": (0, 1, 2), "b": (0, 1, 2)},
        values={"a": (0.0, 1.0, 10.0), "b": (0.0, 5.0, 6.0)},
        factors=Factors(
            constant_ns=0, terms=(Factor(groups=("a",), ns=costs), Factor(groups=("b",), ns=costs)), approximation=0.0
        ),
    )
    assert dict(solve_front(problem).best(100).widths) == {"a": 2, "b": 0}


def test_an_unreachable_budget_names_the_smallest_latency() -> None:
    front = solve_front(planted("chain", "launch cost", 0))
    smallest = int(front.latency_ns[0])
    with pytest.raises(BudgetUnreachableError, match=f"{smallest / 1e6:.3f} ms") as raised:
        front.best(smallest - 1)
    assert raised.value.value == smallest


def test_a_problem_without_a_choice_has_one_point() -> None:
    factors = Factors(constant_ns=7, terms=(Factor(groups=("a",), ns={(4,): 5}),), approximation=0.0)
    front = solve_front(WidthProblem(candidates={"a": (4,)}, values={"a": (2.0,)}, factors=factors))
    assert (len(front), front.solution(0).latency_ns, front.solution(0).value) == (1, 12, 2.0)


def test_too_wide_a_problem_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "_MOST_PAIRS", 10)
    with pytest.raises(TooWideError, match="pairs of points"):
        solve_front(planted("concat", "linear", 0))


def test_a_dense_network_is_known_to_be_too_wide_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [f"g{index}" for index in range(20)]
    pairs = itertools.combinations(groups, 2)
    terms = tuple(
        Factor(groups=pair, ns=dict.fromkeys(itertools.product(range(1, 7), repeat=2), 5)) for pair in pairs
    )
    problem = WidthProblem(
        candidates={group: tuple(range(1, 7)) for group in groups},
        values={group: tuple(map(float, range(6))) for group in groups},
        factors=Factors(constant_ns=0, terms=terms, approximation=0.0),
    )
    monkeypatch.setattr(elimination, "_combined", None)  # any work would fail
    with pytest.raises(TooWideError, match="states at once"):
        solve_front(problem)


@pytest.mark.parametrize(
    ("values", "match"), [((1.0,), "2 candidates and 1 values"), ((1.0, float("nan")), "no numbers")]
)
def test_values_that_do_not_fit_are_refused(values: tuple[float, ...], match: str) -> None:
    with pytest.raises(InvalidOptionError, match=match):
        WidthProblem(
            candidates={"a": (1, 2)}, values={"a": values},
            factors=Factors(constant_ns=0, terms=(), approximation=0.0),
        )
