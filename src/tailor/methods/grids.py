"""Which widths a method lets each group take."""

from __future__ import annotations

from collections.abc import Mapping

from tailor.errors import CutError, NothingToPruneError
from tailor.methods.recipe import Method
from tailor.spec import ChannelGraph, ChannelGroup, Widths

__all__ = ["candidate_widths", "narrowest_widths"]

_NARROWEST = 0.1  # of the dense width, for methods that choose among all widths


def candidate_widths(
    graph: ChannelGraph, profiled: Mapping[str, tuple[int, ...]], method: Method
) -> dict[str, tuple[int, ...]]:
    """Widths that each group may take in the search, ascending; the dense width is always among them.

    `profiled` holds each group's right edges of treads, which the grid "edges" takes; the other grids need no
    staircase. Pinned groups keep their dense width, and so do residual streams when the method fixes them. Groups of
    branches that the method may remove have width 0 too.

    Raises:
        CutError: the profile misses a free group or holds a width that its group does not allow.
        NothingToPruneError: no group has a choice; the message says why.
    """
    first, removable = _first(graph, method), _removable(graph, method)
    chosen = {
        group.name: (*((0,) if group.name in removable else ()), *_of_group(group, profiled, method))
        if group.name not in first else (group.width,)
        for group in graph.groups
    }
    if all(len(widths) == 1 for widths in chosen.values()):
        raise NothingToPruneError(_nothing_free(graph, method), value=[group.name for group in graph.groups])
    return chosen


def narrowest_widths(graph: ChannelGraph, method: Method, least: int = 1) -> Widths:
    """The narrowest network that the method may build, so many channels a group at least, whatever is gained by it."""
    first, removable = _first(graph, method), _removable(graph, method)
    return Widths(
        {
            group.name: 0 if group.name in removable
            else group.width if _fixed(group, method) or group.name in first
            else group.at_least(least)
            for group in graph.groups
        }
    )


def _first(graph: ChannelGraph, method: Method) -> frozenset[str]:
    """The groups that the first layer writes, where the method keeps them."""
    terms = graph.layers[0].outputs.terms if method.keeps_first and graph.layers else ()
    return frozenset(group for group, _ in terms)


def _removable(graph: ChannelGraph, method: Method) -> frozenset[str]:
    """The groups of the branches that the method may remove."""
    branches = graph.removable if method.depth else ()
    kept = graph.branches[:1] if method.keeps_first else ()
    return frozenset(group for branch in branches if branch not in kept for group in branch.groups)


def _of_group(group: ChannelGroup, profiled: Mapping[str, tuple[int, ...]], method: Method) -> tuple[int, ...]:
    if _fixed(group, method):
        return (group.width,)
    if method.grid != "edges":
        return _plain(group, method.grid)
    if group.name not in profiled:
        raise CutError(f"the profile misses group {group.name!r}; profile this model again", value=group.name)
    for width in profiled[group.name]:
        if not group.allows(width):
            message = f"the profile offers width {width} for group {group.name!r}, which does not allow it"
            raise CutError(f"{message}; profile this model again", value=width)
    return tuple(sorted({*profiled[group.name], group.width}))


def _plain(group: ChannelGroup, grid: str) -> tuple[int, ...]:
    """Tenths of the dense width, rounded down to what is allowed, or every allowed width from a tenth of it."""
    lowest = max(group.smallest, round(_NARROWEST * group.width))
    allowed = [width for width in range(lowest, group.width + 1) if group.allows(width)]
    if grid == "all":
        return tuple(allowed)
    tenths = (round(group.width * part / 10) for part in range(1, 11))
    return tuple(sorted({max((w for w in allowed if w <= tenth), default=allowed[0]) for tenth in tenths}))


def _fixed(group: ChannelGroup, method: Method) -> bool:
    return group.pinned is not None or (group.residual and method.residual == "fixed")


def _nothing_free(graph: ChannelGraph, method: Method) -> str:
    pinned = sum(group.pinned is not None for group in graph.groups)
    fixed = sum(_fixed(group, method) for group in graph.groups) - pinned
    flat = len(graph.groups) - pinned - fixed
    reasons = [
        text
        for count, text in (
            (pinned, f"{pinned} pinned (`tailor inspect` says why)"),
            (fixed, f"{fixed} residual streams that {method.name} keeps whole (free them with residual=free)"),
            (flat, f"{flat} whose latency has no step below the dense width on this target"),
        )
        if count
    ]
    return f"none of {len(graph.groups)} channel groups has a width to choose: {'; '.join(reasons)}"
