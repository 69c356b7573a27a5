"""Which channels matter: scores per unit of a group, and the plan that keeps the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tailor.errors import UnknownNameError
from tailor.importance.chance import RandomImportance
from tailor.importance.magnitude import L1Importance, L2Importance
from tailor.importance.selection import Ranking, keep_plan, rank
from tailor.protocols import Importance

__all__ = [
    "IMPORTANCES",
    "L1Importance",
    "L2Importance",
    "RandomImportance",
    "Ranking",
    "importance_named",
    "keep_plan",
    "rank",
]

# name -> maker(seed)
IMPORTANCES: Mapping[str, Callable[[int], Importance]] = MappingProxyType(
    {
        "l1": lambda seed: L1Importance(),
        "l2": lambda seed: L2Importance(),
        "random": RandomImportance,
    }
)


def importance_named(name: str, seed: int = 0) -> Importance:
    """The importance of this name; the seed matters to "random" alone.

    Raises:
        UnknownNameError: listing the known names.
    """
    if name not in IMPORTANCES:
        raise UnknownNameError(f"no importance {name!r}; known are {', '.join(IMPORTANCES)}", value=name)
    return IMPORTANCES[name](seed)
