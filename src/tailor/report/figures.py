"""The figures of a run: widths along the depth, staircases, the search's course, and its scores against latency."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tailor.latency.profile import NetworkProbe
from tailor.latency.staircase import Staircase
from tailor.records import NEAR, GroupSummary, Trial
from tailor.report.style import ACCENT, GHOST, HAIRLINE, INK, MARK, SOFT, bare_axes, look, new_figure

__all__ = [
    "StairPanel",
    "course_figure",
    "prediction_figure",
    "scatter_figure",
    "stairs_figure",
    "widths_figure",
]

_WIDTH = 820.0
_COLUMNS = 3
_NEAR_ONE = "near a finalist"
# Where trials come from, as the legend of a search's course names it, and their markers.
_ORIGINS = {"random": "o", "mutation": "^", "crossover": "s", _NEAR_ONE: "v", "other": "D"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StairPanel:
    """One staircase to draw, the channel counts that were chosen on it, and a few words on why it has its steps."""

    title: str
    stairs: Staircase
    chosen: tuple[int, ...] = ()
    why: str = ""


_WHY_WIDTH = 40  # characters that fit into a panel


def widths_figure(groups: Sequence[GroupSummary], pruned: Mapping[str, int]) -> Figure:
    """Bars along the depth: each group's dense width in grey, what is kept of it in colour, pinned ones marked."""
    with look():
        figure = new_figure(_WIDTH, 240)
        axes = figure.add_subplot()
        bare_axes(axes)
        places = range(len(groups))
        dense = [group.width * group.channels_per_unit for group in groups]
        kept = [pruned.get(group.name, group.width) * group.channels_per_unit for group in groups]
        axes.bar(places, dense, width=0.74, color=GHOST, label="dense")
        axes.bar(places, kept, width=0.74, color=ACCENT, label="kept")
        pinned = [place for place in places if groups[place].pinned]
        if pinned:
            top = 0.025 * max(dense)
            marks = [dense[place] + top for place in pinned]
            axes.plot(pinned, marks, "v", ms=4.5, color=MARK, mew=0, label="pinned")
        axes.set_xlim(-0.7, max(len(groups), 12) - 0.3)
        axes.set_xlabel("channel groups, in the order of the network")
        axes.set_ylabel("channels")
        axes.set_xticks([])
        _legend(axes)
    return figure


def stairs_figure(panels: Sequence[StairPanel], *, columns: int = _COLUMNS) -> Figure:
    """Small multiples: dots with their 95 % intervals are measured, the thin line is the parametric stair through them.

    The step line is what a width costs after padding up, squares are right edges, rings the choice.
    """
    with look():
        rows = max(1, math.ceil(len(panels) / columns))
        figure = new_figure(_WIDTH, 20 + 176 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_stairs(axes, panel)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
    return figure


def _draw_stairs(axes: Axes, panel: StairPanel) -> None:
    stairs = panel.stairs
    size, unit = (1e6, "ms") if stairs.treads[-1].ns >= 1e6 else (1e3, "µs")
    bare_axes(axes)
    _draw_points(axes, stairs, size)
    corners = [(0, stairs.treads[0].ns / size)]
    for tread in stairs.treads:
        corners += [(corners[-1][0], tread.ns / size), (tread.right_edge, tread.ns / size)]
    axes.plot(*_columns(corners), color=ACCENT, lw=1.5, solid_joinstyle="miter")
    edges = [(tread.right_edge, tread.ns / size) for tread in stairs.treads]
    axes.plot(*_columns(edges), "s", color=ACCENT, ms=4.4, mew=0)
    for chosen in panel.chosen:
        _ring(axes, chosen, stairs.at(chosen) / size)
    axes.set_title(panel.title)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0, top=1.18 * max([stairs.treads[-1].ns, *(p.ns for p in stairs.points)]) / size)
    axes.set_xticks(_channel_ticks(stairs.treads[-1].right_edge))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.text(0.015, 1.0, unit, transform=axes.transAxes, color=SOFT, va="top", fontsize=10)
    why = textwrap.fill(panel.why, _WHY_WIDTH, max_lines=2, placeholder=" ...")
    told = axes.text(0.985, 0.03, why, transform=axes.transAxes, color=SOFT, ha="right", va="bottom", fontsize=8.5)
    told.set_in_layout(False)  # a long reason would squeeze its panel to nothing


def _draw_points(axes: Axes, stairs: Staircase, size: float) -> None:
    """Measured points with their intervals, and the parametric stairs that describe them."""
    for regime in stairs.regimes:
        counts = range(regime.low, regime.high + 1)
        axes.plot(counts, regime.ns(counts) / size, color=GHOST, lw=1.0)
    if not stairs.points:
        return
    channels, times = _columns([(point.channels, point.ns / size) for point in stairs.points])
    spread = [1.96 * point.noise * point.ns / size for point in stairs.points]
    axes.errorbar(channels, times, yerr=spread, fmt="none", ecolor=SOFT, elinewidth=0.8)
    axes.plot(channels, times, "o", ms=3.4, color=SOFT, mew=0)


def _channel_ticks(most: int) -> list[int]:
    """Four to eight multiples of a power of two: the blocks that kernels work in."""
    step = 1 << max(0, most.bit_length() - 3)
    return list(range(step, most + 1, step))


def course_figure(trials: Sequence[Trial], score: str = "held-out top-1") -> Figure:
    """Score against trial number, the best so far as a line: whether the search was still getting better at its end."""
    with look():
        figure = new_figure(_WIDTH, 260)
        axes = figure.add_subplot()
        bare_axes(axes)
        scored = [(t.number, 100 * t.score, t.origin) for t in trials if t.score is not None]
        for origin, marker in _ORIGINS.items():
            dots = [(n, s) for n, s, o in scored if _kind(o) == origin]
            if dots:
                axes.plot(*_columns(dots), marker, ms=3.8, color=SOFT, alpha=0.6, mew=0, label=origin)
        best = list(accumulate((s for _, s, _ in scored), max))
        axes.step([n for n, _, _ in scored], best, where="post", color=ACCENT, lw=1.8, label="best so far")
        axes.set_xlabel("structures tried")
        axes.set_ylabel(f"{score}, %")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        _legend(axes)
    return figure


def _kind(origin: str) -> str:
    """How the legend names the origin of a trial."""
    if origin.startswith(NEAR):
        return _NEAR_ONE
    return origin if origin in _ORIGINS else "other"


def scatter_figure(
    trials: Sequence[Trial], limit_ns: int | None, best: int | None, score: str = "held-out top-1"
) -> Figure:
    """Score against latency, the limit as a line and the winner ringed: what the budget costs."""
    with look():
        figure = new_figure(_WIDTH, 300)
        axes = figure.add_subplot()
        bare_axes(axes)
        dots = [(t.latency.ns / 1e6, 100 * t.score) for t in trials if t.score is not None]
        axes.plot(*_columns(dots), "o", ms=4.4, color=ACCENT, alpha=0.45, mew=0)
        winner = next((t for t in trials if t.number == best and t.score is not None), None)
        if winner is not None and winner.score is not None:
            spot = (winner.latency.ns / 1e6, 100 * winner.score)
            _ring(axes, *spot)
            axes.annotate("chosen", spot, xytext=(-9, 4), textcoords="offset points", ha="right", color=INK)
        if limit_ns is not None:
            axes.axvline(limit_ns / 1e6, color=MARK, lw=1.3)
            axes.annotate(
                "limit", (limit_ns / 1e6, 0), xycoords=("data", "axes fraction"), xytext=(5, 5),
                textcoords="offset points", color=MARK,
            )
        axes.set_xlabel("latency as the search saw it, ms")
        axes.set_ylabel(f"{score}, %")
    return figure


def prediction_figure(networks: Sequence[NetworkProbe], chosen: tuple[int, int] | None) -> Figure:
    """Predicted against measured latency of whole networks, each predicted without having been fitted on.

    `chosen` is the searched network's (measured, predicted) ns.
    """
    with look():
        figure = new_figure(_WIDTH, 330)
        axes = figure.add_subplot()
        bare_axes(axes)
        dots = [(probe.ns / 1e6, probe.predicted_ns / 1e6) for probe in networks]
        ends = (min(min(dot) for dot in dots), max(max(dot) for dot in dots))
        axes.plot(ends, ends, color=HAIRLINE, lw=1.4, zorder=1)
        axes.plot(*_columns(dots), "o", ms=4.4, color=ACCENT, alpha=0.55, mew=0)
        if chosen is not None:
            spot = (chosen[0] / 1e6, chosen[1] / 1e6)
            _ring(axes, *spot)
            axes.annotate("chosen", spot, xytext=(9, -9), textcoords="offset points", va="top", color=INK)
        axes.set_xlabel("measured, ms")
        axes.set_ylabel("predicted, ms")
    return figure


def _ring(axes: Axes, x: float, y: float) -> None:
    """The mark of what was chosen; it may reach over the edge of the axes."""
    axes.plot([x], [y], "o", ms=8.5, mfc="none", mec=MARK, mew=1.8, zorder=5, clip_on=False)


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, borderaxespad=0, handletextpad=0.5)
