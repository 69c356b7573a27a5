"""What benchmarks/edges.py calls true, missed and invented, on sweeps whose edges are planted."""

from __future__ import annotations

import importlib
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailor.latency.staircase import Point

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


def stairs(channels: int) -> float:
    return 3e5 + 1e5 * -(-channels // 32)


def line(channels: int) -> float:
    return 1e4 * channels


def test_a_stair_is_true_what_is_not_found_is_missed_and_what_lies_on_a_tread_is_invented(edges: Any) -> None:
    missed, invented, true = edges.judged(sweep(stairs), [32, 48, 96], [32, 48, 96], RESOLUTION)
    assert true == [32, 64, 96]
    assert missed == [64]
    assert invented == [48]


def test_an_edge_that_was_found_without_its_jump_is_neither_missed_nor_invented(edges: Any) -> None:
    assert edges.judged(sweep(stairs), [32], [32, 48, 64], RESOLUTION)[:2] == ([96], [])


@pytest.mark.parametrize("seed", range(6))
def test_a_sweep_that_errs_by_half_a_step_calls_no_true_edge_invented(edges: Any, seed: int) -> None:
    """The luckiest of hundreds of counts is two steps too quick; the edges before it are there all the same."""
    true = [*range(16, 256, 16)]
    noisy = sweep(lambda c: 1e5 + 1.2e5 * -(-c // 16), 256, 0.027, seed)  # steps of 6.6 % and more
    assert edges.judged(noisy, true, true, 0.014)[1] == []
    on_treads = [edge + 8 for edge in true]
    invented = edges.judged(noisy, on_treads, on_treads, 0.014)[1]
    assert len(invented) > len(true) / 2
    assert set(invented) <= set(on_treads)


def test_a_dip_is_an_edge_as_far_as_one_surely_costs_less(edges: Any) -> None:
    """Layers of a multiple of 32 are quicker than their narrower neighbours, and these may run as wide."""
    dips = sweep(lambda c: (1e6 + 5e3 * c) * (1.0 if c % 32 == 0 else 1.25))
    assert edges.judged(dips, [48], [48], RESOLUTION) == ([32, 64, 96], [48], [32, 64, 96])


def test_a_line_has_no_edges_though_each_count_rises_by_more_than_may_be_claimed(edges: Any) -> None:
    """Nor is an edge invented where it rises: it is none only where narrowing saves nothing."""
    assert edges.judged(sweep(line), [40], [40], RESOLUTION) == ([], [], [])


def test_a_jump_hardly_larger_than_what_may_be_claimed_counts_neither_way(edges: Any) -> None:
    fine = sweep(lambda c: 1e6 * (1.075 if c > 64 else 1.0))
    assert edges.judged(fine, [64], [64], RESOLUTION) == ([], [], [])


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
