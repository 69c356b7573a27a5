"""What benchmarks/edges.py calls true, missed and invented, on sweeps whose edges are planted."""

from __future__ import annotations

import importlib
import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tailor.latency.staircase import Point, Staircase, Tread

RESOLUTION = 0.02  # three times as much may be claimed


@pytest.fixture
def edges(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("edges")


def sweep(truth: Callable[[int], float], width: int = 128, noise: float = 0.003, seed: int = 0) -> list[Point]:
    draw = random.Random(seed)
    return [
        Point(channels=c, ns=round(truth(c) * math.exp(noise * draw.gauss(0, 1))), noise=noise)
        for c in range(1, width + 1)
    ]


def claimed(edges: Sequence[int], width: int = 128) -> Staircase:
    """A staircase that claims these edges; its levels do not matter."""
    rights = [*edges, width]
    treads = tuple(
        Tread(low=low + 1, right_edge=right, ns=1_000 * (place + 1))
        for place, (low, right) in enumerate(zip([0, *edges], rights, strict=True))
    )
    return Staircase(points=(), treads=treads, resolution=RESOLUTION)


def stairs(channels: int) -> float:
    return 3e5 + 1e5 * -(-channels // 32)


def line(channels: int) -> float:
    return 1e4 * channels


def test_a_stair_is_true_what_is_not_found_is_missed_and_what_lies_on_a_tread_is_invented(edges: Any) -> None:
    missed, invented, true = edges.judged(sweep(stairs), claimed([32, 48, 96]), RESOLUTION)
    assert true == [32, 64, 96]
    assert missed == [64]
    assert invented == [48]


def test_a_line_has_no_edges_though_each_count_rises_by_more_than_may_be_claimed(edges: Any) -> None:
    """Nor is an edge invented where it rises: it is none only where narrowing saves nothing."""
    assert edges.judged(sweep(line), claimed([40]), RESOLUTION) == ([], [], [])


def test_a_jump_hardly_larger_than_what_may_be_claimed_counts_neither_way(edges: Any) -> None:
    fine = sweep(lambda c: 1e6 * (1.075 if c > 64 else 1.0))
    assert edges.judged(fine, claimed([64]), RESOLUTION) == ([], [], [])


@pytest.mark.parametrize(("noise", "told"), [((0.03, 0.03), 0.03), ((0.03, 0.01), None), ((0.03, 0.03), 0.01)])
def test_two_sweeps_tell_more_than_one_and_how_much(
    edges: Any, noise: tuple[float, float], told: float | None
) -> None:
    first, second = (
        [Point(channels=p.channels, ns=p.ns, noise=told or own) for p in sweep(stairs, 256, own, seed)]
        for seed, own in enumerate(noise)
    )
    slower = [Point(channels=p.channels, ns=round(1.3 * p.ns), noise=p.noise) for p in second]  # in another state
    both = edges.averaged(first, slower)
    true = 1 / math.hypot(1 / noise[0], 1 / noise[1])
    off = [math.log(point.ns / stairs(point.channels)) for point in both]
    assert statistics.stdev(off) == pytest.approx(true, rel=0.2)
    assert both[0].noise == pytest.approx(true, rel=0.2)
    assert abs(statistics.fmean(off)) < 0.005
