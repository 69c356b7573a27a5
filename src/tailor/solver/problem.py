"""The choice of one width per group as data: what every width is worth, and what any widths together cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.latency.factors import Factors
from tailor.solver.fronts import IntArray
from tailor.spec import Widths

__all__ = ["Solution", "WidthProblem"]

_PRECISION = 2**40  # integer steps over the whole range of the value: finer than any saliency is known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WidthProblem:
    """One width per group, ascending `candidates`; maximise the sum of `values`, the `factors` tell the latency.

    Bounds, pins and quanta are candidates left out; a width of 0 removes a branch, and combinations that a factor
    leaves out are not chosen. `values` maps each group to the value of each candidate, in the same order; costs may be
    negative and need not ascend with the width.

    Raises:
        InvalidOptionError: a group without candidates or with a wrong number of values, or a factor over no candidates.
    """

    candidates: Mapping[str, tuple[int, ...]]
    values: Mapping[str, tuple[float, ...]]
    factors: Factors

    def __post_init__(self) -> None:
        for group, widths in self.candidates.items():
            if not widths or len(self.values.get(group, ())) != len(widths):
                message = f"group {group!r} has {len(widths)} candidates and {len(self.values.get(group, ()))} values"
                raise InvalidOptionError(message, value=group)
            if not np.all(np.isfinite(self.values[group])):
                raise InvalidOptionError(f"group {group!r} has values that are no numbers", value=self.values[group])
        for term in self.factors.terms:
            if unknown := [group for group in term.groups if group not in self.candidates]:
                raise InvalidOptionError(f"a factor is over {unknown[0]!r}, which has no candidates", value=unknown[0])

    @property
    def free(self) -> tuple[str, ...]:
        """Groups with a choice."""
        return tuple(group for group, widths in self.candidates.items() if len(widths) > 1)

    def allows(self, widths: Mapping[str, int]) -> bool:
        """Whether no factor forbids these widths, which must be candidates."""
        return all(tuple(widths[group] for group in term.groups) in term.ns for term in self.factors.terms)

    def value(self, widths: Mapping[str, int]) -> float:
        """The sum of values at these widths, which must be candidates."""
        return sum(self.values[group][own.index(widths[group])] for group, own in self.candidates.items())

    def latency_ns(self, widths: Mapping[str, int]) -> int:
        """The sum of factors at these widths, which must be candidates."""
        return self.factors.total_ns(widths)

    def integer_values(self) -> dict[str, IntArray]:
        """Values as integers from 0, at one scale for all groups: sums of them are exact."""
        lowest = {group: min(self.values[group]) for group in self.candidates}
        span = sum(max(self.values[group]) - lowest[group] for group in self.candidates)
        scale = _PRECISION / span if span > 0 else 0.0
        return {
            group: np.array([round((value - lowest[group]) * scale) for value in self.values[group]], dtype=np.int64)
            for group in self.candidates
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Chosen widths, their latency by the factors, their value; no other choice is worth more than `gap` more.

    `gap` is relative to the value; 0 says that this is an optimum.
    """

    widths: Widths
    latency_ns: int
    value: float
    gap: float = 0.0
