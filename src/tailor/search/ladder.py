"""Limits, each tighter by a share of the first: one answer to each, so that one keeps the budget as measured."""

from __future__ import annotations

from tailor.errors import InvalidOptionError

__all__ = ["check_ladder", "rungs"]


def rungs(limit_ns: float, structures: int, step: float) -> list[float]:
    """The limit itself first, then tighter by one `step` of it each time."""
    return [limit_ns * (1 - step * number) for number in range(structures)]


def check_ladder(structures: int, step: float) -> None:
    """Refuse a ladder without rungs, or one that reaches zero.

    Raises:
        InvalidOptionError: naming the value.
    """
    if structures < 1:
        raise InvalidOptionError(f"structures must be at least 1, not {structures}", value=structures)
    if not 0 < step < 1:
        raise InvalidOptionError(f"step must be between 0 and 1, not {step}", value=step)
