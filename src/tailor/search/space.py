"""The structures a search may propose: one candidate width per group, and fast enough by prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from itertools import product

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.protocols import LatencyModel
from tailor.spec import Widths

__all__ = ["SearchSpace"]

LISTABLE = 20_000  # spaces up to this size are listed, so that "nothing is left" is known and not guessed
UNIFORM_TRIES = 50  # draws before a budget counts as too tight for uniform sampling
_HALVINGS = 20  # of a shift: finer than a step of any group
NARROWED_TRIES = 200  # narrowed draws that may all have been seen before a space counts as used up


class SearchSpace:
    """All combinations of candidate widths whose predicted latency is within the limit.

    `candidates` maps each group to its widths in ascending order; a group with one width is fixed, width 0 is that of a
    removed branch.
    """

    def __init__(self, candidates: Mapping[str, tuple[int, ...]], latency: LatencyModel, limit_ns: int) -> None:
        for group, widths in candidates.items():
            if not widths or list(widths) != sorted(set(widths)) or widths[0] < 0:
                message = f"group {group!r}: candidate widths must be ascending, distinct and not negative: {widths}"
                raise InvalidOptionError(message, value=widths)
        self.candidates = {group: tuple(widths) for group, widths in candidates.items()}
        self.limit_ns = limit_ns
        self._latency = latency
        self._known: dict[Widths, int] = {}
        self._listed: tuple[Widths, ...] | None = None

    def within(self, limit_ns: int) -> SearchSpace:
        """The same candidates under another limit; what is known of their latency is shared."""
        space = SearchSpace(self.candidates, self._latency, limit_ns)
        space._known = self._known
        return space

    @property
    def free(self) -> tuple[str, ...]:
        """Groups with a choice."""
        return tuple(group for group, widths in self.candidates.items() if len(widths) > 1)

    @property
    def size(self) -> int:
        """Combinations in all, feasible or not."""
        return math.prod(len(widths) for widths in self.candidates.values())

    @property
    def narrowest(self) -> Widths:
        """Every group at its smallest candidate."""
        return Widths({group: widths[0] for group, widths in self.candidates.items()})

    def feasible(self, widths: Widths) -> bool:
        """Whether the predicted latency is within the limit."""
        return self.latency_ns(widths) <= self.limit_ns

    def latency_ns(self, widths: Widths) -> int:
        """The predicted latency (remembered: a model may be slow to ask)."""
        if widths not in self._known:
            self._known[widths] = self._latency.predict(widths).ns
        return self._known[widths]

    def draw(self, rng: np.random.Generator, seen: Set[Widths]) -> tuple[Widths, str] | None:
        """A feasible structure not seen before and how it was drawn, or None when the space is used up.

        Drawn uniformly ("random") while that finds feasible ones. Under a tight budget it rarely does; then a uniform
        draw is narrowed, one step of one random group at a time, until it fits ("narrowed"). Narrowed draws lie
        just below the limit, where the most accurate structures are, and favour no group over another.
        """
        for _ in range(UNIFORM_TRIES):
            widths = self._uniform(rng)
            if widths not in seen and self.feasible(widths):
                return widths, "random"
        if self.size <= LISTABLE:
            left = [widths for widths in self._all_feasible() if widths not in seen]
            return (left[rng.integers(len(left))], "random") if left else None
        for _ in range(NARROWED_TRIES):
            narrowed = self._narrowed(rng)
            if narrowed is not None and narrowed not in seen:
                return narrowed, "narrowed"
        return None

    def _uniform(self, rng: np.random.Generator) -> Widths:
        return Widths({group: int(rng.choice(widths)) for group, widths in self.candidates.items()})

    def _narrowed(self, rng: np.random.Generator) -> Widths | None:
        return self.narrowed(self._uniform(rng), rng)

    def narrowed(self, widths: Widths, rng: np.random.Generator) -> Widths | None:
        """One step of one random group at a time, until it is feasible; None when even the narrowest is not."""
        while not self.feasible(widths):
            wide = [group for group in self.free if widths[group] > self.candidates[group][0]]
            if not wide:
                return None
            group = wide[rng.integers(len(wide))]
            steps = self.candidates[group]
            widths = widths.but({group: steps[steps.index(widths[group]) - 1]})
        return widths

    def filled(self, widths: Widths, rng: np.random.Generator) -> Widths:
        """Widened step by step in random groups until no group can be widened within the limit."""
        left = list(self.free)
        while left:
            group = left[int(rng.integers(len(left)))]
            steps = self.candidates[group]
            place = steps.index(widths[group]) + 1
            wider = widths.but({group: steps[place]}) if place < len(steps) else None
            if wider is not None and self.feasible(wider):
                widths = wider
            else:
                left.remove(group)
        return widths

    def drawn_at_limit(self, rng: np.random.Generator) -> Widths:
        """As wide as the limit allows, at random: places drawn uniformly, and all moved up or down together.

        A few predictions tell; the narrowest structure must keep the limit.
        """
        shares = {group: rng.random() for group in self.candidates}
        low, high = -1.0, 1.0  # a shift that keeps the limit (everything at its narrowest), and one that may not
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.feasible(self._shifted(shares, middle)) else (low, middle)
        return self._shifted(shares, low)

    def _shifted(self, shares: Mapping[str, float], shift: float) -> Widths:
        """Every group at this share of its candidates, from its narrowest to its widest."""
        places = {group: min(max(share + shift, 0.0), 1.0) for group, share in shares.items()}
        return Widths(
            {group: steps[round(places[group] * (len(steps) - 1))] for group, steps in self.candidates.items()}
        )

    def _all_feasible(self) -> tuple[Widths, ...]:
        if self._listed is None:
            groups = tuple(self.candidates)
            every = (Widths(zip(groups, choice, strict=True)) for choice in product(*self.candidates.values()))
            self._listed = tuple(widths for widths in every if self.feasible(widths))
        return self._listed
