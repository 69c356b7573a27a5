"""What inspect, profile and measure print: records as plain text, every number formatted by the report's wording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailor.console import table_text
from tailor.latency.profile import Profile
from tailor.records import GraphSummary, Interval
from tailor.report.wording import count, duration, percent, seconds

if TYPE_CHECKING:
    from tailor.measuring import Timing

__all__ = ["facts_text", "graph_text", "profile_text", "timing_text"]


def facts_text(rows: Sequence[tuple[str, str]]) -> str:
    """Named values, one per line, the names aligned."""
    longest = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{longest}}  {value}" for name, value in rows)


def graph_text(name: str, graph: GraphSummary, columns: int) -> str:
    """Every group that may be cut, then every pinned one with its reason: nothing is left out in silence."""
    free = [group for group in graph.groups if group.pinned is None]
    pinned = [group for group in graph.groups if group.pinned is not None]
    head = (
        f"{name}: {len(graph.groups)} groups of channels, {len(free)} can be cut, {len(pinned)} pinned\n"
        f"{count(graph.macs)} MACs, {count(graph.parameters)} parameters, {graph.channels:,} channels, "
        f"{graph.layers} layers"
    )
    parts = [head]
    if free:
        rows = [
            (
                group.name,
                str(group.width * group.channels_per_unit),
                str(group.width),
                str(group.min_width),
                str(group.quantum),
                percent(group.share),
                "residual stream" if group.residual else "",
                _layers(group.producers),
            )
            for group in free
        ]
        headers = ("can be cut", ">channels", ">units", ">smallest", ">quantum", ">MACs", "", "made by")
        parts.append(table_text(headers, rows, columns=columns))
    if pinned:
        reasons = [(g.name, str(g.width * g.channels_per_unit), percent(g.share), g.pinned or "") for g in pinned]
        parts.append(table_text(("pinned", ">channels", ">MACs", "reason"), reasons, columns=columns))
    return "\n\n".join(parts)


def _layers(producers: Sequence[str]) -> str:
    names = [path.removesuffix(".weight") for path in producers]
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") if names else ""


def profile_text(name: str, profile: Profile, columns: int) -> str:
    """Staircases, candidate widths and the latency model's own error."""
    error, share = profile.error, percent(profile.smallest_ns / profile.dense_ns)
    facts = facts_text(
        [
            ("target", str(profile.target)),
            ("dense", _interval(profile.dense)),
            ("smallest", f"{duration(profile.smallest_ns)}, {share} of dense"),
            ("resolution", f"{percent(profile.resolution, 2)} between two copies of the dense network"),
            (
                "model error",
                f"{percent(error.mean)} mean, {percent(error.worst)} worst on {error.networks} held-out networks; "
                f"Kendall tau {error.kendall_tau:.3f}",
            ),
            (
                "probes",
                f"{profile.layer_probes} of lone layers ({profile.layer_probes_found} known from before), "
                f"{len(profile.networks)} whole networks, {seconds(profile.seconds)}",
            ),
        ]
    )
    stairs = [
        (
            each.layers[0] + (f" + {len(each.layers) - 1}" if len(each.layers) > 1 else ""),
            each.axis,
            str(len(each.staircase.points)),
            duration(each.staircase.treads[-1].ns),
            str(len(each.staircase.treads)),
            " ".join(str(edge) for edge in each.staircase.edges),
        )
        for each in profile.staircases
    ]
    headers = ("layer", "axis", ">probes", ">dense", ">treads", "right edges")
    widths = [(group, " ".join(map(str, values))) for group, values in profile.candidates.items() if len(values) > 1]
    parts = [name, facts, table_text(headers, stairs, columns=columns)]
    parts.append(table_text(("group", "candidate widths"), widths, columns=columns) if widths else _nothing_to_gain())
    return "\n\n".join(parts)


def timing_text(name: str, versus: str | None, timing: Timing) -> str:
    """The latency with all that it rests on; with another network, the paired ratio and what may be said."""
    rows = [
        (name, f"{_interval(timing.latency)} ({timing.settings.statistic} of {timing.rounds} rounds)"),
        ("target", str(timing.target)),
        ("stopped", _STOPPED.get(timing.stopped, timing.stopped)),
        ("resolution", f"{percent(timing.resolution, 2)} between two copies of it in the same session"),
    ]
    if versus is not None and timing.versus_latency and timing.ratio and timing.comparison:
        ratio = timing.ratio
        rows.insert(1, (versus, _interval(timing.versus_latency)))
        spread = f"95 % interval {percent(ratio.low)} to {percent(ratio.high)}"
        rows.append(("ratio", f"{percent(ratio.value)} of {versus}, {spread}: {timing.comparison.value}"))
    return facts_text(rows)


_STOPPED = {
    "precise": "the interval was as narrow as asked",
    "rounds": "the most rounds allowed were done",
    "time": "the time allowed was over",
    "protocol": "the protocol's rounds were done",
}


def _interval(latency: Interval) -> str:
    return f"{duration(latency.value)}, 95 % interval {duration(latency.low)} to {duration(latency.high)}"


def _nothing_to_gain() -> str:
    return "no group has a width that is measurably faster than its dense one: pruning cannot help on this target"
