"""HALP's knapsack keeps order and capacity, is optimal on linear costs, and loses on staircases, as its code does."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tailor.errors import BudgetUnreachableError
from tailor.solver.heuristic import ordered_knapsack

LAYERS, ITEMS = 5, 5


def instance(kind: str, seed: int) -> tuple[list[list[float]], list[list[int]], int]:
    """Falling values per layer, costs of a shape, and a budget of 30 to 80 % of all costs."""
    draw = random.Random(f"{kind} {seed}")
    values = [sorted((draw.random() for _ in range(ITEMS)), reverse=True) for _ in range(LAYERS)]
    costs = []
    for _ in range(LAYERS):
        slope = draw.randint(2, 9)
        if kind == "linear":
            costs.append([slope] * ITEMS)
        elif kind == "staircase":
            costs.append([2 * slope if item % 2 == 0 else 0 for item in range(ITEMS)])
        else:
            costs.append([4 * slope if item == 0 else slope for item in range(ITEMS)])
    return values, costs, round(draw.uniform(0.3, 0.8) * sum(map(sum, costs)))


def worth(values: list[list[float]], counts: tuple[int, ...]) -> float:
    return sum(sum(layer[:count]) for layer, count in zip(values, counts, strict=True))


def price(costs: list[list[int]], counts: tuple[int, ...]) -> int:
    return sum(sum(layer[:count]) for layer, count in zip(costs, counts, strict=True))


def optimum(values: list[list[float]], costs: list[list[int]], capacity: int) -> float:
    every = itertools.product(range(ITEMS + 1), repeat=LAYERS)
    return max(worth(values, counts) for counts in every if price(costs, counts) <= capacity)


def losses(kind: str) -> list[float]:
    found = []
    for seed in range(30):
        values, costs, capacity = instance(kind, seed)
        counts = ordered_knapsack(values, costs, capacity)
        assert price(costs, counts) <= capacity
        found.append(1 - worth(values, counts) / optimum(values, costs, capacity))
    return found


def test_it_is_optimal_where_every_item_of_a_layer_costs_the_same() -> None:
    assert max(losses("linear")) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("kind", ["staircase", "launch"])
def test_it_loses_value_where_the_first_item_pays_for_the_next(kind: str) -> None:
    found = losses(kind)
    assert min(found) >= -1e-12
    assert np.mean(np.array(found) > 1e-9) >= 0.1  # why the exact solver exists


def test_the_expensive_first_and_free_second_item_is_what_it_misses() -> None:
    values, costs = [[5.0, 1.0], [1.0, 9.0]], [[10, 0], [10, 0]]
    assert ordered_knapsack(values, costs, 10) == (2, 0)  # worth 6; the second layer's two would be worth 10


def test_negative_costs_make_room() -> None:
    assert ordered_knapsack([[1.0, 1.0], [3.0]], [[4, -3], [5]], 6) == (2, 1)


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(BudgetUnreachableError, match="capacity of -1"):
        ordered_knapsack([[1.0]], [[1]], -1)
