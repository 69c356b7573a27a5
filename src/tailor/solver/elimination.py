"""Exact widths for every budget in one pass: eliminate groups one by one, keeping Pareto fronts of (latency, value).

Latency is a sum of tables over one or two groups, value a sum over groups. Eliminating a group joins the tables that
name it and keeps, for every choice of its neighbours, only the points that no other beats in both. What is left in
the end is the front of the whole network. (Bucket elimination with two criteria; see docs/methods.md.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailor.errors import BudgetUnreachableError, TailorError
from tailor.solver.fronts import Fronts, IntArray, pareto, promising, single_points
from tailor.solver.problem import Solution, WidthProblem
from tailor.spec import Widths

__all__ = ["ParetoFront", "TooWideError", "solve_front"]

_CHUNK = 400_000  # pairs of points handled at once: what is left of them stays in the cache
_MOST_PAIRS = 400_000_000  # of one elimination: some minutes; wider problems are for mixed-integer programming
_MOST_STATES = 4_000_000  # of one table: with a front for every state it would have far more pairs than that


class TooWideError(TailorError, ValueError):
    """Too many groups share layers: elimination would take too long; `value` is the number of pairs of points."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParetoFront:
    """Every network that no other beats in latency and value: arrays of shape [points], both ascending.

    `choices` maps each free group to the index of its candidate at every point.
    """

    problem: WidthProblem
    latency_ns: IntArray
    choices: Mapping[str, IntArray]

    def __len__(self) -> int:
        return len(self.latency_ns)

    def solution(self, index: int) -> Solution:
        """The network of one point."""
        candidates = self.problem.candidates
        widths = Widths(
            {
                group: own[int(self.choices[group][index])] if group in self.choices else own[0]
                for group, own in candidates.items()
            }
        )
        value = self.problem.value(widths)
        return Solution(widths=widths, latency_ns=int(self.latency_ns[index]), value=value)

    def best(self, limit_ns: int) -> Solution:
        """The most valuable network within the limit.

        Raises:
            BudgetUnreachableError: naming the smallest latency that can be reached.
        """
        within = int(np.searchsorted(self.latency_ns, limit_ns, side="right"))
        if not within:
            smallest = int(self.latency_ns[0])
            raise BudgetUnreachableError(
                f"no choice of widths reaches {limit_ns / 1e6:.3f} ms; the smallest latency is {smallest / 1e6:.3f} ms",
                value=smallest,
            )
        return self.solution(within - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """A front for every choice of the groups in `scope` (states in C order), and how its points came about.

    `left` and `right` are the points joined of the two tables it was made from; `option` is the choice of the group
    that was eliminated on the way.
    """

    scope: tuple[str, ...]
    fronts: Fronts
    sources: tuple[_Table, _Table] | None = None
    left: IntArray | None = None
    right: IntArray | None = None
    eliminated: str | None = None
    option: IntArray | None = None


def solve_front(problem: WidthProblem) -> ParetoFront:
    """The whole front of the problem, exact up to 1 part in 2^40 of the value.

    Raises:
        TooWideError: the groups are too densely connected; use `solve_milp` for one budget at a time.
    """
    sizes = {group: len(problem.candidates[group]) for group in problem.free}
    tables = _tables(problem)
    _check_width([set(table.scope) for table in tables], sizes)
    for _ in range(len(sizes)):
        group = _next(tables, sizes)
        touching = _by_scope([table for table in tables if group in table.scope], sizes)
        rest = [table for table in tables if group not in table.scope]
        joined = touching[0]
        for table in touching[1:-1]:
            joined = _combined(joined, table, sizes)
        last = touching[-1] if len(touching) > 1 else _unit()
        tables = [*rest, _combined(joined, last, sizes, eliminated=group)]
    whole = _unit()
    for table in tables:
        whole = _combined(whole, table, sizes)
    return ParetoFront(
        problem=problem,
        latency_ns=whole.fronts.cost + problem.factors.constant_ns + _fixed_ns(problem),
        choices=_choices(whole),
    )


def _check_width(scopes: list[set[str]], sizes: Mapping[str, int]) -> None:
    """Eliminate by scopes alone, always where fewest states arise: what is too wide is known before any work.

    Raises:
        TooWideError: a table would have too many states.
    """

    def joined(group: str) -> set[str]:
        return set[str]().union(*(scope for scope in scopes if group in scope))

    def states(group: str) -> int:
        return math.prod(sizes[other] for other in joined(group))

    left = set(sizes)
    while left:
        group = min(sorted(left), key=states)
        if states(group) > _MOST_STATES:
            raise TooWideError(f"eliminating groups would need {states(group)} states at once", value=states(group))
        scopes = [*(scope for scope in scopes if group not in scope), joined(group) - {group}]
        left.remove(group)


def _fixed_ns(problem: WidthProblem) -> int:
    """What factors over groups without a choice add."""
    free = set(problem.free)
    fixed = {group: widths[0] for group, widths in problem.candidates.items()}
    terms = [term for term in problem.factors.terms if not free.intersection(term.groups)]
    return sum(term.ns[tuple(fixed[group] for group in term.groups)] for term in terms)


def _tables(problem: WidthProblem) -> list[_Table]:
    """One table of values per free group, one of costs per factor that names a free group."""
    candidates, free = problem.candidates, set(problem.free)
    found = [
        _Table(scope=(group,), fronts=single_points(np.zeros(len(values), dtype=np.int64), values))
        for group, values in problem.integer_values().items()
        if group in free
    ]
    for term in problem.factors.terms:
        scope = tuple(group for group in term.groups if group in free)
        if not scope:
            continue
        grid = np.indices([len(candidates[group]) for group in term.groups]).reshape(len(term.groups), -1).T
        keys = [tuple(candidates[g][k] for g, k in zip(term.groups, row, strict=True)) for row in grid.tolist()]
        cost = np.array([term.ns[key] for key in keys if key in term.ns], dtype=np.int64)
        starts = np.cumsum([0, *(key in term.ns for key in keys)])
        fronts = Fronts(starts=starts, cost=cost, value=np.zeros_like(cost))  # a state that is not allowed has no point
        found.append(_Table(scope=scope, fronts=fronts))
    return found


def _by_scope(tables: Sequence[_Table], sizes: Mapping[str, int]) -> list[_Table]:
    """One table per scope, small scopes first; short fronts are added to a long one: two long ones cross badly."""
    found: dict[tuple[str, ...], _Table] = {}
    for table in sorted(tables, key=_length, reverse=True):
        found[table.scope] = _combined(found[table.scope], table, sizes) if table.scope in found else table
    return sorted(found.values(), key=lambda table: (len(table.scope), -_length(table)))


def _unit() -> _Table:
    """Costs nothing and is worth nothing."""
    zero = np.zeros(1, dtype=np.int64)
    return _Table(scope=(), fronts=single_points(zero, zero))


def _next(tables: Sequence[_Table], sizes: Mapping[str, int]) -> str:
    """The group whose tables joined have the fewest pairs of points, as far as their mean lengths tell.

    Groups between two large parts of the network go before those parts have grown.
    """

    def pairs(group: str) -> float:
        touching = [table for table in tables if group in table.scope]
        scope = {other for table in touching for other in table.scope}
        return sum(math.log(sizes[other]) for other in scope) + sum(math.log(_length(table)) for table in touching)

    return min({group: None for table in tables for group in table.scope}, key=pairs)


def _length(table: _Table) -> float:
    """Points per state on average."""
    return max(1, len(table.fronts.cost)) / (len(table.fronts.starts) - 1)


def _combined(left: _Table, right: _Table, sizes: Mapping[str, int], *, eliminated: str | None = None) -> _Table:
    """The two tables' fronts added for every choice of their groups; the best over the choices of one eliminated."""
    left, right = sorted((left, right), key=_length)
    scope = tuple(sorted({*left.scope, *right.scope} - {eliminated}))
    whole = (*scope, eliminated) if eliminated is not None else scope
    options = sizes[eliminated] if eliminated is not None else 1
    states = math.prod(sizes[group] for group in scope)
    entries = states * options
    grid = dict(zip(whole, np.indices([sizes[group] for group in whole]).reshape(len(whole), entries), strict=True))
    places = [_places(table, grid, sizes, entries) for table in (left, right)]
    state_of, option_of = np.divmod(np.arange(entries), options)
    points = _Points()
    for low, high in _chunks(left.fronts.sizes[places[0]] * right.fronts.sizes[places[1]]):
        state = state_of[low:high]
        pairs = promising(left.fronts, places[0][low:high], right.fronts, places[1][low:high], state)
        points.add(
            state=state[pairs.entry],
            cost=left.fronts.cost[pairs.left] + right.fronts.cost[pairs.right],
            value=left.fronts.value[pairs.left] + right.fronts.value[pairs.right],
            left=pairs.left,
            right=pairs.right,
            option=option_of[low:high][pairs.entry],
        )
    fronts, columns = points.filtered(states)
    return _Table(
        scope=scope,
        fronts=fronts,
        sources=(left, right),
        left=columns["left"],
        right=columns["right"],
        eliminated=eliminated,
        option=columns["option"],
    )


def _places(table: _Table, grid: Mapping[str, IntArray], sizes: Mapping[str, int], entries: int) -> IntArray:
    """The table's state at every entry of the grid."""
    place = np.zeros(entries, dtype=np.int64)
    for group in table.scope:
        place = place * sizes[group] + grid[group]
    return place


def _chunks(pairs: IntArray) -> Iterator[tuple[int, int]]:
    """Ranges of entries with about as many pairs as are handled at once.

    Raises:
        TooWideError: there are too many pairs in all.
    """
    total = int(pairs.sum())
    if total > _MOST_PAIRS:
        raise TooWideError(f"eliminating groups would compare {total} pairs of points", value=total)
    upto = np.cumsum(pairs)
    low = 0
    while low < len(pairs):
        before = int(upto[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(upto, before + _CHUNK, side="right")))
        yield low, high
        low = high


class _Points:
    """Points gathered chunk by chunk, each chunk filtered at once."""

    def __init__(self) -> None:
        self._parts: list[dict[str, IntArray]] = []

    def add(self, *, state: IntArray, **columns: IntArray) -> None:
        """Keep what no other point of this chunk beats."""
        first = int(state[0]) if len(state) else 0
        states = int(state[-1]) - first + 1 if len(state) else 0
        _, kept = pareto(state - first, columns["cost"], columns["value"], states)
        self._parts.append({"state": state[kept], **{name: column[kept] for name, column in columns.items()}})

    def filtered(self, states: int) -> tuple[Fronts, dict[str, IntArray]]:
        """The fronts of all states, and the columns of their points."""
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        fronts, kept = pareto(columns["state"], columns["cost"], columns["value"], states)
        return fronts, {name: columns[name][kept] for name in ("left", "right", "option")}


def _choices(whole: _Table) -> dict[str, IntArray]:
    """The candidate index of every group at every point, followed back through the tables."""
    found: dict[str, IntArray] = {}
    waiting = [(whole, np.arange(len(whole.fronts.cost)))]
    while waiting:
        table, points = waiting.pop()
        if table.sources is None or table.left is None or table.right is None or table.option is None:
            continue
        if table.eliminated is not None:
            found[table.eliminated] = table.option[points]
        waiting += [(table.sources[0], table.left[points]), (table.sources[1], table.right[points])]
    return found
