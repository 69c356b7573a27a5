"""Which channels matter: scores per unit of a group, and the plan that keeps the best."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor, nn

from tailor.errors import DataError, UnknownNameError
from tailor.importance.branches import branch_values, with_branch_outputs
from tailor.importance.chance import RandomImportance
from tailor.importance.feature_rank import feature_rank_scores
from tailor.importance.filters import Scores
from tailor.importance.geometric import GeometricMedianImportance
from tailor.importance.kept import KeptImportance
from tailor.importance.lamp import LampImportance, SpLampImportance
from tailor.importance.magnitude import L1Importance, L2Importance
from tailor.importance.selection import Ranking, keep_plan, rank
from tailor.importance.taylor import TAYLORS, TaylorAccumulator, taylor_scores
from tailor.protocols import Importance
from tailor.spec import ChannelGraph, ChannelGroup

__all__ = [
    "FROM_DATA",
    "FROM_WEIGHTS",
    "IMPORTANCES",
    "Calibration",
    "GeometricMedianImportance",
    "KeptImportance",
    "L1Importance",
    "L2Importance",
    "LampImportance",
    "Observed",
    "RandomImportance",
    "Ranking",
    "SpLampImportance",
    "TaylorAccumulator",
    "importance_named",
    "keep_plan",
    "rank",
]

FROM_WEIGHTS: Mapping[str, Callable[[int], Importance]] = MappingProxyType(  # name -> maker(seed)
    {
        "l1": lambda seed: L1Importance(),
        "l2": lambda seed: L2Importance(),
        "lamp": lambda seed: LampImportance(),
        "sp-lamp": lambda seed: SpLampImportance(),
        "geometric-median": lambda seed: GeometricMedianImportance(),
        "random": RandomImportance,
    }
)
FROM_DATA = (*TAYLORS, "hrank")
IMPORTANCES = (*FROM_WEIGHTS, *FROM_DATA)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What importances from data are observed on: `batches()` gives (images, labels), the same each time."""

    model: nn.Module
    graph: ChannelGraph
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """Scores that were observed once on data, per group; pinned groups have none.

    `branches` is what the output of each removable branch was worth, in the same unit.
    """

    name: str
    scores: Mapping[str, Scores]
    branches: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, model: nn.Module, group: ChannelGroup) -> Scores:
        """Scores, shape [width], whatever the model's weights have become since."""
        return self.scores[group.name]


def importance_named(name: str, seed: int = 0, calibration: Calibration | None = None) -> Importance:
    """The importance of this name; the seed matters to "random" alone, the calibration to those from data.

    Raises:
        UnknownNameError: listing the known names.
        DataError: the importance is observed on data, and there is none.
    """
    if name in FROM_WEIGHTS:
        return FROM_WEIGHTS[name](seed)
    if name not in FROM_DATA:
        raise UnknownNameError(f"no importance {name!r}; known are {', '.join(IMPORTANCES)}", value=name)
    if calibration is None:
        raise DataError(
            f"importance {name} is observed on training images; give data, or choose {', '.join(FROM_WEIGHTS)}",
            value=name,
        )
    scores = _observed(name, calibration)
    return Observed(name=name, scores=scores, branches=branch_values(calibration.graph, scores))


def _observed(name: str, calibration: Calibration) -> Mapping[str, Scores]:
    model, graph, device = calibration.model, calibration.graph, calibration.device
    if name == "hrank":
        return feature_rank_scores(copy.deepcopy(model).to(device).eval(), graph, calibration.batches())
    scored = graph if name == "input-taylor" else with_branch_outputs(graph)  # outputs consume nothing
    return taylor_scores(model, scored, name, calibration.batches(), device=device)
