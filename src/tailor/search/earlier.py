"""A strategy with structures of an earlier search beside its own."""

from __future__ import annotations

from collections.abc import Sequence

from tailor.protocols import Proposal, Strategy
from tailor.records import Trial
from tailor.spec import Widths

__all__ = ["EarlierFirst"]


class EarlierFirst:
    """Proposes the earlier structures, at least one, before the strategy's own; it is not told of them."""

    def __init__(self, strategy: Strategy, earlier: Sequence[Widths]) -> None:
        self._strategy = strategy
        self._earlier = tuple(Proposal(widths=widths, origin="earlier search", cycle=0) for widths in earlier)
        self._told = False

    @property
    def planned(self) -> int:
        """The strategy's structures and the earlier ones."""
        return self._strategy.planned + len(self._earlier)

    @property
    def description(self) -> str:
        """The strategy's, and the structures."""
        return f"{self._strategy.description}, after {[dict(each.widths) for each in self._earlier]}"

    def ask(self) -> tuple[Proposal, ...]:
        """The earlier structures at first, then whatever the strategy asks for."""
        return self._strategy.ask() if self._told else self._earlier

    def tell(self, trials: Sequence[Trial]) -> None:
        """The answer to the last `ask`."""
        if self._told:
            self._strategy.tell(trials)
        self._told = True
