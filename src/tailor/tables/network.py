"""What inspect and profile print: records as plain text, every number formatted by the report's wording."""

from __future__ import annotations

from collections.abc import Sequence

from tailor.console import table_text
from tailor.latency.kernels import step_summary
from tailor.latency.profile import LayerStaircase, Profile
from tailor.records import GraphSummary, Interval
from tailor.report.wording import count, duration, percent, seconds

__all__ = ["facts_text", "graph_text", "profile_text"]


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
    if graph.branches:
        told = [(b.name, percent(b.share), b.pinned or "can be removed", ", ".join(b.groups)) for b in graph.branches]
        parts.append(table_text(("residual branch", ">MACs", "", "groups inside"), told, columns=columns))
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
            _layer_name(each),
            each.axis,
            str(len(each.staircase.points)),
            duration(each.staircase.treads[-1].ns),
            str(len(each.staircase.treads)),
            " ".join(str(edge) for edge in each.staircase.edges),
        )
        for each in profile.staircases
    ]
    headers = ("layer", "axis", ">probes", ">dense", ">treads", "right edges")
    parts = [name, facts, table_text(headers, stairs, columns=columns)]
    if steps := _steps(profile):
        parts.append(table_text(("layer", "axis", ">steps", "why"), steps, columns=columns))
    widths = [
        (group, " ".join(map(str, values)), _ranges(values))
        for group, values in profile.candidates.items()
        if len(values) > 1
    ]
    named = ("group", "candidate widths", "of equal cost: up to the right end channels are free")
    parts.append(table_text(named, widths, columns=columns) if widths else _nothing_to_gain())
    return "\n\n".join(parts)


def _interval(latency: Interval) -> str:
    return f"{duration(latency.value)}, 95 % interval {duration(latency.low)} to {duration(latency.high)}"


def _layer_name(stairs: LayerStaircase) -> str:
    others = len(stairs.layers) - 1
    return stairs.layers[0] + (f" + {others}" if others else "")


def _steps(profile: Profile) -> list[tuple[str, str, str, str]]:
    """Why each staircase rises where it does, with the edges where more than one reason is at work."""
    rows = []
    for stairs in profile.staircases:
        reasons = step_summary(stairs.why)
        for sentence, edges in reasons:
            where = f" (at {' '.join(map(str, edges))})" if len(reasons) > 1 else ""
            rows.append((_layer_name(stairs), stairs.axis, str(len(edges)), sentence + where))
    return rows


def _ranges(widths: Sequence[int]) -> str:
    """Widths that cost what the widest of them does: "1-16 17-32"."""
    lows = [1, *(width + 1 for width in widths)]
    return " ".join(f"{low}-{high}" if low < high else str(high) for low, high in zip(lows, widths, strict=False))


def _nothing_to_gain() -> str:
    return "no group has a width that is measurably faster than its dense one: pruning cannot help on this target"
