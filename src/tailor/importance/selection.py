"""Which channels: the highest scores of each group, as a keep plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from tailor.errors import InvalidOptionError
from tailor.protocols import Importance
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["SCALES", "Ranking", "keep_plan", "rank"]

SCALES = ("raw", "group-mean")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """The units of every group, best first; made once, it gives the keep plan for any widths without the weights.

    `scores` are those of the units as they stand in the group; pinned groups have none.
    """

    graph: ChannelGraph
    fingerprint: str
    order: Mapping[str, npt.NDArray[np.int64]]
    scores: Mapping[str, npt.NDArray[np.float64]]

    def keep(self, widths: Mapping[str, int]) -> KeepPlan:
        """The plan that keeps each group's best units.

        Raises:
            CutError: the widths break a pin, a bound or a quantum, or miss a group.
        """
        self.graph.check(widths)
        kept = {name: tuple(sorted(order[: widths[name]].tolist())) for name, order in self.order.items()}
        return KeepPlan(fingerprint=self.fingerprint, kept=kept)


    def values(self, candidates: Mapping[str, Sequence[int]], *, scale: str = "raw") -> dict[str, tuple[float, ...]]:
        """What each candidate width of each group is worth: the sum of its best units' scores.

        Scale "group-mean" divides a group's scores by their mean, so that layers of large weights count no more than
        others.

        Raises:
            InvalidOptionError: unknown scale.
        """
        if scale not in SCALES:
            raise InvalidOptionError(f"scale must be one of {', '.join(SCALES)}, not {scale!r}", value=scale)
        return {group: self._worth(group, widths, scale) for group, widths in candidates.items()}

    def _worth(self, group: str, widths: Sequence[int], scale: str) -> tuple[float, ...]:
        if group not in self.scores:
            return (0.0,) * len(widths)
        best = self.scores[group][self.order[group]]
        if scale == "group-mean" and best.mean() > 0:
            best = best / best.mean()
        sums = np.concatenate([[0.0], np.cumsum(best)])
        return tuple(float(sums[width]) for width in widths)


def rank(model: nn.Module, graph: ChannelGraph, importance: Importance) -> Ranking:
    """Order the units of every group by falling score; of equal scores the lower index comes first."""
    scores = {group.name: importance(model, group) for group in graph.prunable}
    order = {group.name: np.arange(group.width) for group in graph.pinned}  # all stay, whatever their score
    order |= {name: np.argsort(-own, kind="stable") for name, own in scores.items()}
    return Ranking(
        graph=graph,
        fingerprint=graph.fingerprint,
        order={group.name: order[group.name] for group in graph.groups},
        scores=scores,
    )


def keep_plan(model: nn.Module, graph: ChannelGraph, widths: Mapping[str, int], importance: Importance) -> KeepPlan:
    """The plan that keeps the units of highest score; of equal scores the lower index is kept.

    Raises:
        CutError: the widths break a pin, a bound or a quantum, or miss a group.
    """
    return rank(model, graph, importance).keep(widths)
