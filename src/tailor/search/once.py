"""The part that strategies share which compute their answer: everything is proposed at once, and that is all."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.spec import Widths

__all__ = ["Once"]


class Once(ABC):
    """Proposes the distinct structures that `_found` gives, in its order; they are computed when first asked for."""

    _origin: ClassVar[str]

    def __init__(self) -> None:
        self._known: tuple[Proposal, ...] | None = None
        self._done = False

    @abstractmethod
    def _found(self) -> Iterator[Widths]:
        """The structures, the best first, each computed when it is asked for."""

    def first(self, count: int) -> list[Widths]:
        """The first so many answers, which nothing is told of; fewer where some are the same."""
        return list(dict.fromkeys(itertools.islice(self._found(), count)))

    @property
    def planned(self) -> int:
        """As many as there are distinct ones."""
        return len(self._proposals())

    def ask(self) -> tuple[Proposal, ...]:
        """All structures; empty once they were told."""
        return () if self._done else self._proposals()

    def tell(self, trials: Sequence[Trial]) -> None:
        """All was said at once."""
        self._done = True

    def _proposals(self) -> tuple[Proposal, ...]:
        if self._known is None:
            distinct = dict.fromkeys(self._found())
            self._known = tuple(Proposal(widths=widths, origin=self._origin, cycle=0) for widths in distinct)
        return self._known
