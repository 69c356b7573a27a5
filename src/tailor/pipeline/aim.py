"""How far below the budget a search aims, so that what it finds keeps the budget when it is measured again."""

from __future__ import annotations

from tailor.latency.profile import Profile
from tailor.pipeline.request import Line

__all__ = ["aim_below", "margin"]

LARGEST_COPIES = 0.02  # of what two copies of one network may differ by, this much is kept away from the limit at most
LARGEST_STATE = 0.08  # and of what the host's state may add, this much
_STATES = 2.08  # standard deviations of it: (1.96 + 1.645) / sqrt(3), see `margin`
_TOLD = 0.01  # from which margin on for the host's state the user should know what it costs


def aim_below(limit_ns: int, line: Line, profiled: Profile) -> int:
    """What a search may take, in ns: the limit less the margin; says so where the host's state takes much of it."""
    off = margin(profiled.resolution, profiled.host_noise)
    if _STATES * profiled.host_noise >= _TOLD:
        line.console.say(
            f"the host's state moves ratios by {profiled.host_noise:.1%} from session to session: so that another time "
            f"finds the budget kept too, the search aims {off:.1%} below it"
        )
    return round(limit_ns * (1 - off))


def margin(resolution: float, host_noise: float) -> float:
    """The share of the limit to stay below it: what copies differ by, and what the host's state adds.

    The mean of a verdict's three sessions lies below 1.645 / sqrt(3) standard deviations in 19 of 20, and half of the
    verdict's interval takes 1.96 / sqrt(3) more.
    """
    return min(resolution, LARGEST_COPIES) + min(_STATES * host_noise, LARGEST_STATE)
