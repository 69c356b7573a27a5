"""The ordered 0/1 knapsack of HALP: a heuristic, kept as a part of that method and to be compared with the optimum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tailor.errors import BudgetUnreachableError

__all__ = ["ordered_knapsack"]

BoolArray = npt.NDArray[np.bool_]


def ordered_knapsack(
    values: Sequence[Sequence[float]], costs: Sequence[Sequence[int]], capacity: int
) -> tuple[int, ...]:
    """How many of each layer's items to take, the most important first: values and integer costs per layer and item.

    Dynamic programming over the capacity in which an item may be taken in a state only if the item before it is taken
    in the state it comes from (Shen et al. 2022, "HALP", its augmented knapsack). That keeps the order and loses
    answers: an item whose predecessor did not pay by itself is not reached, which is what staircases are made of.
    Negative costs enlarge the table; the answer is read off at the capacity.

    Raises:
        BudgetUnreachableError: the capacity is negative and no negative cost makes up for it.
    """
    spare = -sum(cost for layer in costs for cost in layer if cost < 0)
    size = capacity + spare + 1
    if size <= 0:
        raise BudgetUnreachableError(f"no items fit a capacity of {capacity}", value=capacity)
    best = np.zeros(size)
    kept: list[BoolArray] = []
    for layer_values, layer_costs in zip(values, costs, strict=True):
        before: BoolArray | None = None  # the first item of a layer has nothing before it
        for value, cost in zip(layer_values, layer_costs, strict=True):
            best, before = _tried(best, before, value, cost)
            kept.append(before)
    return _read(kept, [list(layer) for layer in costs], max(capacity, 0) if spare == 0 else capacity)


def _tried(
    best: npt.NDArray[np.float64], before: BoolArray | None, value: float, cost: int
) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """The table with one more item, and in which states it is taken."""
    size = len(best)
    states = np.arange(size)
    origins = states - cost
    inside = (origins >= 0) & (origins < size)
    origins = np.where(inside, origins, 0)
    with_item = np.where(inside, best[origins] + value, -np.inf)
    if before is not None:
        with_item = np.where(before[origins], with_item, -np.inf)
    taken = (with_item > best) | ((with_item == best) & (cost == 0) & np.isfinite(with_item))
    return np.where(taken, with_item, best), taken


def _read(kept: Sequence[BoolArray], costs: list[list[int]], state: int) -> tuple[int, ...]:
    """Follow the decisions back from the capacity."""
    counts = [0] * len(costs)
    item = len(kept) - 1
    for layer in range(len(costs) - 1, -1, -1):
        for cost in reversed(costs[layer]):
            if 0 <= state < len(kept[item]) and kept[item][state]:
                counts[layer] += 1
                state -= cost
            item -= 1
    return tuple(counts)
