"""What inspect and profile print: records as plain text, every number formatted by the report's wording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tailor.console import table_text
from tailor.latency.kernels import step_summary
from tailor.latency.profile import LayerStaircase, Profile
from tailor.records import GraphSummary, GroupLatencies, GroupSummary, Interval
from tailor.report.wording import calls_counted, count, duration, host_state, moments_left_out, percent, seconds

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
    if graph.form != "module":
        head += f"\nits code holds channel counts, so its {graph.form} is cut in its place"
    parts = [head]
    if graph.latency is not None:
        parts.append(_latency_text(graph.latency))
    shares = graph.latency.shares if graph.latency is not None else None
    measured = (">latency",) if shares is not None else ()
    if free:
        rows = [(*_sizes(g), *_shares(g, shares), "residual stream" if g.residual else "", _members(g)) for g in free]
        sizes = ("can be cut", ">channels", ">units", ">smallest", ">quantum")
        headers = (*sizes, ">MACs", ">parameters", *measured, "", "members: made by -> others")
        parts.append(table_text(headers, rows, columns=columns))
    if pinned:
        reasons = [(g.name, str(g.width * g.channels_per_unit), *_shares(g, shares), g.pinned or "") for g in pinned]
        headers = ("pinned", ">channels", ">MACs", ">parameters", *measured, "reason")
        parts.append(table_text(headers, reasons, columns=columns))
    if graph.branches:
        told = [(b.name, percent(b.share), b.pinned or "can be removed", ", ".join(b.groups)) for b in graph.branches]
        parts.append(table_text(("residual branch", ">MACs", "", "groups inside"), told, columns=columns))
    return "\n\n".join(parts)


def _sizes(group: GroupSummary) -> tuple[str, ...]:
    channels = group.width * group.channels_per_unit
    return (group.name, *map(str, (channels, group.width, group.min_width, group.quantum)))


def _shares(group: GroupSummary, latency: Mapping[str, float] | None) -> tuple[str, ...]:
    own = (percent(group.share), percent(group.parameter_share))
    return own if latency is None else (*own, percent(latency.get(group.name, 0.0)))


def _members(group: GroupSummary) -> str:
    """What makes the channels, and what else they run through."""
    makers = [path.removesuffix(".weight") for path in group.producers]
    others = [member for member in group.members if member not in makers]
    return ", ".join(makers) + (f" -> {', '.join(others)}" if others else "")


def _latency_text(latency: GroupLatencies) -> str:
    ratio = latency.narrowest
    low, high = (percent(edge) for edge in (ratio.low, ratio.high))
    rows = [
        ("target", str(latency.target)),
        ("dense", _interval(latency.dense)),
        ("smallest", f"{duration(ratio.value * latency.dense.value)}, {percent(ratio.value)} of dense "
         f"(95 % interval {low} to {high}): the fastest of the narrowest networks, as measured"),
    ]  # fmt: skip
    if latency.shares is None:
        rows.append(("by group", f"{latency.target.engine} does not tell what the parts of a network take"))
    return facts_text(rows)


def profile_text(name: str, profile: Profile, columns: int) -> str:
    """Staircases, candidate widths and the latency model's own error."""
    error, share = profile.error, percent(profile.smallest_ns / profile.dense_ns)
    facts = facts_text(
        [
            ("target", str(profile.target)),
            ("dense", _interval(profile.dense)),
            ("smallest", f"{duration(profile.smallest_ns)}, {share} of dense"),
            ("resolution", f"{percent(profile.resolution, 2)} between two copies of the dense network"),
            ("calls counted", calls_counted(profile.statistic) + moments_left_out(profile.statistic)),
            ("of lone layers", calls_counted(profile.layer_statistic) + moments_left_out(profile.layer_statistic)),
            ("host's state", host_state(profile.host_noise)),
            (
                "model error",
                f"{percent(error.mean)} mean, {percent(error.worst)} worst on {error.networks} held-out networks; "
                f"Kendall tau {error.kendall_tau:.3f}",
            ),
            (
                "probes",
                f"{profile.layer_probes} of lone layers ({profile.layer_probes_found} known from before), "
                f"{len(profile.networks)} whole networks ({profile.networks_found} known), {seconds(profile.seconds)}",
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
