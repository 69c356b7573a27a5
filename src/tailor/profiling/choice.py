"""Refuses to search where nothing can be chosen."""

from __future__ import annotations

from collections.abc import Mapping

from tailor.errors import MeasurementError, NothingToPruneError
from tailor.spec import ChannelGraph, Target
from tailor.timing import claimable_step

__all__ = ["require_choice"]

_TOO_NOISY = 0.05  # a resolution at which a missing step says nothing about the network


def require_choice(
    graph: ChannelGraph, candidates: Mapping[str, tuple[int, ...]], resolution: float, target: Target
) -> None:
    """Refuse when no group has a second width and no branch can go.

    Raises:
        MeasurementError: the host is too noisy to tell.
        NothingToPruneError: no group gains anything from being narrower.
    """
    if graph.removable or any(len(widths) > 1 for widths in candidates.values()):
        return
    step = claimable_step(resolution)
    if resolution > _TOO_NOISY:
        raise MeasurementError(
            f"this host is too noisy to see a step: two copies of the network differed by {resolution:.1%} "
            f"({target}); stop what else runs here and try again",
            value=resolution,
        )
    raise NothingToPruneError(
        f"no group makes its layers faster by {step:.1%} or more when narrowed ({target}); "
        "try a larger batch or input",
        value=step,
    )
