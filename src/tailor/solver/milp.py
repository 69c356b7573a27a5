"""Widths for one budget by mixed-integer programming, for problems that are too wide to eliminate."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.sparse

from tailor.errors import BudgetUnreachableError, MeasurementError
from tailor.latency.factors import Factor
from tailor.solver.problem import Solution, WidthProblem
from tailor.spec import Widths

__all__ = ["solve_milp"]

_SECONDS = 60.0
_INFEASIBLE = 2  # scipy's status
_ATTEMPTS = 8  # the program keeps the limit up to a tolerance: widths that exceed it by a hair ask for a tighter one


def solve_milp(problem: WidthProblem, limit_ns: int, *, seconds: float = _SECONDS) -> Solution:
    """The most valuable widths within the limit as far as HiGHS finds them; `gap` says how far that may be off.

    One binary variable per candidate, one continuous variable per entry of a factor over two groups, tied to the
    candidates by marginals (the local polytope): exact, as exact as the joint pruning of MDP (arXiv 2406.12079).

    Raises:
        BudgetUnreachableError: naming the smallest latency that can be reached.
        MeasurementError: nothing was found within the seconds.
    """
    program = _Program(problem)
    tightened = limit_ns
    for _ in range(_ATTEMPTS):
        found = program.solve(program.values, tightened, seconds)
        if found is None:
            break
        widths, gap = found
        latency = problem.latency_ns(widths)
        if latency <= limit_ns:
            return Solution(widths=widths, latency_ns=latency, value=problem.value(widths), gap=gap)
        tightened -= latency - limit_ns
    fastest = program.solve(-program.costs, None, seconds)
    if fastest is None:
        raise MeasurementError(f"no widths found within {seconds:g} s; give more time", value=seconds)
    smallest = problem.latency_ns(fastest[0])
    if smallest <= limit_ns:
        latency, value = smallest, problem.value(fastest[0])
        return Solution(widths=fastest[0], latency_ns=latency, value=value, gap=math.inf)
    raise BudgetUnreachableError(
        f"no choice of widths reaches {limit_ns / 1e6:.3f} ms; the smallest latency is {smallest / 1e6:.3f} ms",
        value=smallest,
    )


class _Program:
    """The variables: a binary per candidate, then a share per entry of every factor."""

    def __init__(self, problem: WidthProblem) -> None:
        self._problem = problem
        self._first: dict[str, int] = {}
        values: list[float] = []
        for group in problem.candidates:
            self._first[group] = len(values)
            values += problem.values[group]
        self._binaries = len(values)
        costs = np.zeros(len(values))
        shares: list[float] = []
        rows: list[dict[int, float]] = [dict.fromkeys(self._of(group), 1.0) for group in problem.candidates]
        right = [1.0] * len(rows)
        for term in problem.factors.terms:
            if len(term.groups) == 1:
                own = problem.candidates[term.groups[0]]
                for index, width in zip(self._of(term.groups[0]), own, strict=True):
                    costs[index] += term.ns[(width,)]
                continue
            for row in self._marginals(term, self._binaries + len(shares)):
                rows.append(row)
                right.append(0.0)
            shares += [float(ns) for ns in term.ns.values()]
        self.values = np.concatenate([values, np.zeros(len(shares))])
        self.costs = np.concatenate([costs, shares])
        self._ties = scipy.optimize.LinearConstraint(_matrix(rows, len(self.values)), right, right)

    def solve(
        self, worth: npt.NDArray[np.float64], limit_ns: int | None, seconds: float
    ) -> tuple[Widths, float] | None:
        """The widths of greatest worth and their relative gap; None when there are none, or none were found."""
        ties = [self._ties]
        if limit_ns is not None:
            scale = max(1.0, float(np.abs(self.costs).max()))
            room = (limit_ns - self._problem.factors.constant_ns) / scale
            ties.append(scipy.optimize.LinearConstraint(self.costs[None, :] / scale, -np.inf, room))
        answer = scipy.optimize.milp(
            c=-worth / max(1e-12, float(np.abs(worth).max())),
            constraints=ties,
            integrality=np.arange(len(worth)) < self._binaries,
            bounds=scipy.optimize.Bounds(0, 1),
            options={"time_limit": seconds, "mip_rel_gap": 0.0},
        )
        if answer.status == _INFEASIBLE or answer.x is None:
            return None
        widths = {
            group: own[int(np.argmax(answer.x[list(self._of(group))]))]
            for group, own in self._problem.candidates.items()
        }
        return Widths(widths), float(answer.mip_gap or 0.0)

    def _of(self, group: str) -> range:
        first = self._first[group]
        return range(first, first + len(self._problem.candidates[group]))

    def _marginals(self, term: Factor, first: int) -> Iterator[dict[int, float]]:
        """A candidate is chosen as often as the entries of the factor that name it, together."""
        for side, group in enumerate(term.groups):
            for index, width in zip(self._of(group), self._problem.candidates[group], strict=True):
                entries = (first + n for n, widths in enumerate(term.ns) if widths[side] == width)
                yield {index: -1.0, **dict.fromkeys(entries, 1.0)}


def _matrix(rows: list[dict[int, float]], columns: int) -> scipy.sparse.csr_array:
    places = [(row, column, value) for row, entries in enumerate(rows) for column, value in entries.items()]
    row, column, value = zip(*places, strict=True)
    return scipy.sparse.csr_array((value, (row, column)), shape=(len(rows), columns))
