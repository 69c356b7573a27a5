"""How good would these widths be, asked of the weights alone: the share of importance that stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tailor.importance.selection import Ranking

__all__ = ["KeptImportance"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptImportance:
    """Scores widths by the share (0 to 1) of all units' importance that the kept ones hold: an evaluator without data.

    `scale` as in `Ranking.values`. A proxy: it ranks structures, and says nothing about accuracy.
    """

    ranking: Ranking
    scale: str = "group-mean"

    def score(self, widths: Mapping[str, int]) -> float:
        """The share kept at these widths; 1 where nothing has any importance."""
        asked = {name: (widths[name], len(units)) for name, units in self.ranking.order.items()}
        values = self.ranking.values(asked, scale=self.scale).values()
        whole = sum(dense for _, dense in values)
        return sum(kept for kept, _ in values) / whole if whole else 1.0
