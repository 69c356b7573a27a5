"""The figures show the numbers they were given, in the places where they belong."""

from dataclasses import replace

import matplotlib
import pytest
from matplotlib.axes import Axes

import sample_run
from tailor.report.figures import (
    StairPanel,
    course_figure,
    prediction_figure,
    scatter_figure,
    stairs_figure,
    widths_figure,
)
from tailor.report.style import GHOST, MARK


def rings(axes: Axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.lines if line.get_markeredgecolor() == MARK and line.get_markersize() > 8]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def test_rings_sit_on_the_stairs_at_the_chosen_widths() -> None:
    stairs = sample_run.staircase(128, 16, 900)
    figure = stairs_figure([StairPanel(title="features.9", stairs=stairs, chosen=(48, 128))])
    expected = [(48, stairs.at(48) / 1e3), (128, stairs.at(128) / 1e3)]
    assert rings(figure.axes[0]) == [pytest.approx(each) for each in expected]


def test_points_have_intervals_and_the_described_stairs_are_drawn_through_them() -> None:
    stairs = sample_run.staircase(128, 16, 900)
    assert stairs.regimes
    axes = stairs_figure([StairPanel(title="features.9", stairs=stairs, why="oneDNN in blocks of 16")]).axes[0]
    (bars,) = axes.containers
    spans = [(low, high) for (_, low), (_, high) in bars.lines[2][0].get_segments()]
    expected = [(p.ns * (1 - 1.96 * p.noise) / 1e3, p.ns * (1 + 1.96 * p.noise) / 1e3) for p in stairs.points]
    assert spans == [pytest.approx(each) for each in expected]
    through = next(line for line in axes.lines if line.get_color() == GHOST)
    assert len(through.get_xdata()) == stairs.regimes[0].high - stairs.regimes[0].low + 1
    assert "oneDNN in blocks of 16" in [text.get_text() for text in axes.texts]


def test_every_panel_is_drawn_and_empty_places_are_hidden() -> None:
    panels = [StairPanel(title=f"layer{n}", stairs=sample_run.staircase(64, 16, 900)) for n in range(4)]
    figure = stairs_figure(panels)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == [p.title for p in panels]


def test_bars_are_dense_and_kept_channels() -> None:
    groups = [sample_run.group(place) for place in range(4)]
    axes = widths_figure(groups, {"features.3": 8}).axes[0]
    dense, kept = axes.containers
    assert [bar.get_height() for bar in dense] == [32, 32, 64, 64]
    assert [bar.get_height() for bar in kept] == [32, 8, 64, 64]


def test_the_best_so_far_never_falls_and_unscored_trials_are_left_out() -> None:
    trials = sample_run.trials()
    axes = course_figure(trials).axes[0]
    best = list(next(line for line in axes.lines if line.get_label() == "best so far").get_ydata())
    scores = [100 * trial.score for trial in trials if trial.score is not None]
    assert best == [pytest.approx(max(scores[: n + 1])) for n in range(len(scores))]


def test_the_legend_names_where_trials_come_from_and_none_is_lost() -> None:
    origins = ("random", "mutation", "crossover", "near 3", "near 17", "earlier search", "narrow features.0")
    scored = [trial for trial in sample_run.trials() if trial.score is not None]
    trials = [replace(trial, origin=origin) for trial, origin in zip(scored, origins, strict=False)]
    lines = {line.get_label(): len(line.get_xdata()) for line in course_figure(trials).axes[0].lines}
    assert lines == {
        "random": 1, "mutation": 1, "crossover": 1, "near a finalist": 2, "other": 2, "best so far": len(origins)
    }


def test_the_winner_is_ringed_and_the_limit_is_a_line() -> None:
    trials = sample_run.trials()
    axes = scatter_figure(trials, 5_000_000, 7).axes[0]
    assert rings(axes) == [pytest.approx((trials[7].latency.ns / 1e6, 100 * (trials[7].score or 0)))]
    assert any(list(line.get_xdata()) == [5.0, 5.0] for line in axes.lines)


def test_predictions_are_drawn_against_measurements() -> None:
    networks = sample_run.profile().networks
    axes = prediction_figure(networks, (4_950_000, 5_000_000)).axes[0]
    dots = max(axes.lines, key=lambda line: len(line.get_xdata()))
    assert list(dots.get_xdata()) == [probe.ns / 1e6 for probe in networks]
    assert list(dots.get_ydata()) == [probe.predicted_ns / 1e6 for probe in networks]
    assert rings(axes) == [pytest.approx((4.95, 5.0))]


def test_the_callers_matplotlib_settings_are_left_alone() -> None:
    before = dict(matplotlib.rcParams)
    widths_figure([sample_run.group(0)], {})
    assert dict(matplotlib.rcParams) == before
