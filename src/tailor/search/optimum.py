"""The most valuable structures within the limit, from the exact solver, and those within slightly tighter ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tailor.errors import BudgetUnreachableError
from tailor.latency.factors import Factors, together_at_zero
from tailor.search.ladder import check_ladder, rungs
from tailor.search.once import Once
from tailor.search.space import SearchSpace
from tailor.solver import ParetoFront, Solution, TooWideError, WidthProblem, solve_front, solve_milp
from tailor.spec import Widths

__all__ = ["FactoredModel", "Optimum", "OptimumConfig"]

_ROUNDS = 6  # of solving again around the last answer


class FactoredModel(Protocol):
    """A latency model that is a sum of terms over one or two groups."""

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        """The terms, as they are near the network `around`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimumConfig:
    """How many structures: the optimum at the limit, and those at limits that are each tighter by a share of it."""

    structures: int = 8
    step: float = 0.01

    def __post_init__(self) -> None:
        check_ladder(self.structures, self.step)


class Optimum(Once):
    """Exact by elimination, else by mixed-integer programming; terms are taken anew around every answer.

    `values` maps each group to the value of each of its candidates, in order; the groups of one of the `branches` are
    at width 0 together or not at all.
    """

    _origin = "optimum"

    def __init__(
        self,
        space: SearchSpace,
        values: Mapping[str, tuple[float, ...]],
        model: FactoredModel,
        config: OptimumConfig,
        *,
        branches: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__()
        self._space = space
        self._values = values
        self._model = model
        self._config = config
        self._branches = branches
        self._solved_before: list[tuple[Factors, ParetoFront | None]] = []

    @property
    def description(self) -> str:
        """Name and options."""
        return f"optimum, {self._config}"

    def _found(self) -> Iterator[Widths]:
        last: Widths | None = None
        for limit in rungs(self._space.limit_ns, self._config.structures, self._config.step):
            widths = self._solved(round(limit), last or self._space.narrowest)
            if widths is not None:
                last = widths
                yield widths
        if last is None:
            yield self._space.narrowest

    def _solved(self, limit_ns: int, around: Widths) -> Widths | None:
        """The most valuable structure within the limit as the whole model predicts it, None when there is none.

        The terms are exact at the network they were taken around: the limit given to the solver is moved by what they
        were off at the last answer. They are taken `around` a network near it first.
        """
        asked, best = limit_ns, None
        for _ in range(_ROUNDS):
            try:
                solution = self._best(around, asked)
            except BudgetUnreachableError:
                break
            true_ns = self._space.latency_ns(solution.widths)
            if true_ns <= limit_ns and (best is None or solution.value > best.value):
                best = solution
            if solution.widths == around:
                break
            around, asked = solution.widths, limit_ns + min(0, solution.latency_ns - true_ns)
        return None if best is None else best.widths

    def _best(self, around: Widths, limit_ns: int) -> Solution:
        """By elimination; where that is too wide, by mixed-integer programming."""
        factors = self._model.factors(self._space.candidates, around)
        factors = together_at_zero(factors, self._space.candidates, self._branches)
        problem = WidthProblem(candidates=self._space.candidates, values=dict(self._values), factors=factors)
        front = self._front(problem)
        return solve_milp(problem, limit_ns) if front is None else front.best(limit_ns)

    def _front(self, problem: WidthProblem) -> ParetoFront | None:
        """The front of the problem, which holds the answers to all limits; None where it is too wide for one."""
        for factors, front in self._solved_before:
            if factors == problem.factors:
                return front
        if any(front is None for _, front in self._solved_before):  # another neighbourhood is no narrower
            return None
        try:
            found: ParetoFront | None = solve_front(problem)
        except TooWideError:
            found = None
        self._solved_before.append((problem.factors, found))
        return found
