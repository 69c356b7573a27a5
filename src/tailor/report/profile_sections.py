"""The sections that a profile fills: the measured staircases, and how far the fitted latency model can be trusted."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from tailor.latency.group_stairs import group_stairs
from tailor.latency.kernels import step_summary
from tailor.latency.profile import LayerStaircase, Profile
from tailor.report.document import Block, Facts, Picture, Section
from tailor.report.figures import StairPanel, prediction_figure, stairs_figure
from tailor.report.folder import RunRecords
from tailor.report.style import page_svg
from tailor.report.wording import calls_counted, duration, host_state, moments_left_out, percent, seconds

__all__ = ["latency_model", "profile_figure", "staircases"]

_ABSENT = "Not reached: the run folder has no profile.json."
_AXES = {"out": "output channels", "in": "input channels"}


def staircases(run: RunRecords) -> Section:
    """Latency of each distinct layer against its channels, with the widths that were chosen."""
    title, profile = "Staircases", run.profile
    if profile is None:
        return Section(title=title, lead=_ABSENT)
    pruned = run.widths.pruned if run.widths else None
    blocks: list[Block] = []
    for axis, words in _AXES.items():
        panels = _panels(profile, axis, pruned)
        if panels:
            caption = _caption(words, ringed=pruned is not None)
            svg = page_svg(stairs_figure(panels), f"stairs-{axis}", caption)
            folded = f"Staircases along the {words}" if blocks else None
            blocks.append(Picture(svg=svg, caption=caption, folded=folded))
    edges = sum(len(widths) for widths in profile.candidates.values())
    probes = profile.layer_probes + profile.layer_probes_found
    lead = (
        f"{len(profile.staircases)} staircases from {probes} lone-layer probes"
        f"{f', {profile.layer_probes_found} of them known from before' if profile.layer_probes_found else ''}. "
        f"Steps above the resolution of {percent(profile.resolution, 2)} leave {edges} candidate widths in "
        f"{len(profile.candidates)} groups."
    )
    return Section(title=title, lead=lead, blocks=tuple(blocks))


def _caption(words: str, *, ringed: bool) -> str:
    text = (
        f"Latency of one layer alone against its {words}: dots are measured, with 95 % intervals, the line is the "
        "fitted stairs, squares are the right edges of its treads, which are the widths worth having."
    )
    return f"{text} Rings are the widths chosen." if ringed else text


def profile_figure(profile: Profile) -> Figure:
    """Every staircase of a profile, then the sum per group, in one figure, for `tailor profile --plot`."""
    panels = [panel for axis in _AXES for panel in _panels(profile, axis, None, named=True)]
    groups = [StairPanel(title=f"group {name}", stairs=stairs) for name, stairs in group_stairs(profile).items()]
    return stairs_figure([*panels, *groups])


def _why(stairs: LayerStaircase) -> str:
    """What the reason that accounts for most steps says of the kernel, without its explanation in brackets."""
    reasons = step_summary(stairs.why)
    most = max(reasons, key=lambda reason: len(reason[1]), default=("", ()))[0]
    head, _, kernel = most.partition("; ")
    return (kernel or head).partition(" (")[0]


def _panels(
    profile: Profile, axis: str, pruned: Mapping[str, int] | None, *, named: bool = False
) -> list[StairPanel]:
    ending = f", {_AXES[axis].partition(' ')[0]}" if named else ""
    return [
        StairPanel(
            title=_title(stairs) + ending,
            stairs=stairs.staircase,
            chosen=_chosen(profile, stairs, pruned),
            why=_why(stairs),
        )
        for stairs in profile.staircases
        if stairs.axis == axis
    ]


def _title(stairs: LayerStaircase) -> str:
    others = len(stairs.layers) - 1
    return f"{stairs.layers[0]} + {others} alike" if others else stairs.layers[0]


def _chosen(profile: Profile, stairs: LayerStaircase, pruned: Mapping[str, int] | None) -> tuple[int, ...]:
    """Channel counts that the layers of this staircase were given, each once."""
    if pruned is None:
        return ()
    layers = [layer for layer in profile.latency.priced_layers if layer.name in stairs.layers]
    axes = [layer.outputs if stairs.axis == "out" else layer.inputs for layer in layers]
    return tuple(sorted({axis.size(pruned) for axis in axes}))


def latency_model(run: RunRecords) -> Section:
    """How wrong the predictions were on networks they had not seen, and on the winner."""
    title, profile = "Latency model", run.profile
    if profile is None:
        return Section(title=title, lead=_ABSENT)
    error = profile.error
    blocks: list[Block] = []
    if profile.networks:
        caption = (
            "Whole networks of random widths, each predicted by a fit that had not seen it; on the line, prediction "
            "and measurement agree."
        )
        figure = prediction_figure(profile.networks, _winner(run))
        blocks.append(Picture(svg=page_svg(figure, "prediction", caption), caption=caption))
    smallest = f"{duration(profile.smallest_ns)}, {percent(profile.smallest_ns / profile.dense_ns)} of dense"
    rows = [
        ("mean error", percent(error.mean)),
        ("worst error", percent(error.worst)),
        ("within 5 %, 10 %", f"{percent(error.within_5, 0)}, {percent(error.within_10, 0)} of the networks"),
        ("90 % of errors", f"below {percent(error.q90)}"),
        ("order (Kendall τ)", f"{error.kendall_tau:.3f}"),
        ("dense network", duration(profile.dense_ns)),
        ("smallest network", smallest),
        ("calls counted", f"{calls_counted(profile.statistic)} of each network's{moments_left_out(profile.statistic)}"),
        ("of lone layers", calls_counted(profile.layer_statistic) + moments_left_out(profile.layer_statistic)),
        ("host's state", host_state(profile.host_noise)),
        ("time to profile", seconds(profile.seconds)),
    ]
    lead = f"Held-out error over {error.networks} networks: {percent(error.mean)} mean, {percent(error.worst)} worst."
    return Section(title=title, lead=lead, blocks=(*blocks, Facts(rows=tuple(rows))))


def _winner(run: RunRecords) -> tuple[int, int] | None:
    """Measured and predicted latency of the structure that the search chose."""
    if run.search is None or run.search.best_measured_ns is None:
        return None
    predicted = next((trial.latency for trial in run.trials if trial.number == run.search.best), None)
    if predicted is None or predicted.source == "measured":
        return None
    return run.search.best_measured_ns, predicted.ns
