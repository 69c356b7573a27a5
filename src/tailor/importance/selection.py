"""Which channels: the highest scores of each group, as a keep plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from tailor.protocols import Importance
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["Ranking", "keep_plan", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """The units of every group, best first; made once, it gives the keep plan for any widths without the weights."""

    graph: ChannelGraph
    fingerprint: str
    order: Mapping[str, npt.NDArray[np.int64]]

    def keep(self, widths: Mapping[str, int]) -> KeepPlan:
        """The plan that keeps each group's best units.

        Raises:
            CutError: the widths break a pin, a bound or a quantum, or miss a group.
        """
        self.graph.check(widths)
        kept = {name: tuple(sorted(order[: widths[name]].tolist())) for name, order in self.order.items()}
        return KeepPlan(fingerprint=self.fingerprint, kept=kept)


def rank(model: nn.Module, graph: ChannelGraph, importance: Importance) -> Ranking:
    """Order the units of every group by falling score; of equal scores the lower index comes first."""
    order = {}
    for group in graph.groups:
        if group.pinned is None:
            order[group.name] = np.argsort(-importance(model, group), kind="stable")
        else:  # all stay, whatever their score
            order[group.name] = np.arange(group.width)
    return Ranking(graph=graph, fingerprint=graph.fingerprint, order=order)


def keep_plan(model: nn.Module, graph: ChannelGraph, widths: Mapping[str, int], importance: Importance) -> KeepPlan:
    """The plan that keeps the units of highest score; of equal scores the lower index is kept.

    Raises:
        CutError: the widths break a pin, a bound or a quantum, or miss a group.
    """
    return rank(model, graph, importance).keep(widths)
