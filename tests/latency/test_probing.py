"""Edges are found with a tenth of the probes that a sweep takes, and every fit has been checked beside its edges."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tailor.latency.probing import coarse_grid, next_probes
from tailor.latency.staircase import Point, Staircase, fit_staircase
from tailor.timing import claimable_step

Truth = Callable[[int], float]


def stairs(quantum: int, *, slope: float = 0.0, remainder: float = 0.0) -> Truth:
    return lambda c: 1e5 + 4e3 * -(-c // quantum) * quantum + slope * c + (remainder if c % quantum else 0.0)


def line_then_blocks(channels: int) -> float:
    """PyTorch's im2col up to 104 channels, then oneDNN: wider layers are cheaper than the widest of the line."""
    return 1e5 + 9e3 * channels if channels <= 104 else 2e5 + 3.2e3 * -(-channels // 16) * 16


def jump_inside_a_block(channels: int) -> float:
    return 1e5 + 2e3 * -(-channels // 16) * 16 + (3e5 if channels > 120 else 0)


def another_kernel_but_for_multiples_of_4(channels: int) -> float:
    """ONNX Runtime along the input channels: the blocked kernel takes multiples of 4 alone, the rest is slower."""
    return 2.5e5 + 5e3 * channels if channels % 4 else 1e5 + 4e3 * -(-channels // 16) * 16


def cheap_but_for_multiples_of_4(channels: int) -> float:
    """The same for 1x1: what the blocked kernel takes is slower, so that padding up leaves a plain line."""
    return 3e5 + 1e3 * channels + (0 if channels % 4 else 2e5)


def three_blocks(channels: int) -> float:
    block = 64 if channels > 192 else 48 if channels > 96 else 16
    return 1e5 + 4e3 * -(-channels // block) * block


def few_channels_in_ways_of_their_own(channels: int) -> float:
    """oneDNN in channels-last: one, four and eight channels have kernels of their own, wider layers blocks of 16."""
    narrow = {1: 2e4, 4: 5e4, 8: 8e4}
    return next((ns for most, ns in narrow.items() if channels <= most), 1e5 + 4e3 * -(-channels // 16) * 16)


def pieces_of_eight_four_two_and_one(channels: int) -> float:
    """oneDNN's channels-last convolution: what is no whole block of 16 is worked off in pieces."""
    return 2e4 + 1.5e4 * (channels // 16) + 1.2e4 * (channels % 16).bit_count()


def vectors_of_16_in_blocks_of_64(channels: int) -> float:
    """ONNX Runtime's blocked convolution: a set of four filter blocks is begun, then each of them."""
    return 2.6e4 + 2.5e4 * -(-channels // 64) + 8.5e3 * -(-channels // 16)


def vectors_of_8_in_blocks_of_32(channels: int) -> float:
    """The same with AVX2: the filter blocks hold eight channels each."""
    return 2.6e4 + 2.5e4 * -(-channels // 32) + 8.5e3 * -(-channels // 8)


def slower_where_rows_fall_on_each_other(channels: int) -> float:
    """OpenVINO's 1x1: rows of 512 channels miss the cache."""
    return stairs(16)(channels) * (1 if channels % 512 else 1.3)


def explore(
    truth: Truth, width: int, noise: float, seed: int, *, drift: float = 0.0, unit: int = 1
) -> tuple[list[Point], Staircase]:
    draw, points = random.Random(seed), []
    step = 0
    while probes := next_probes(points, width, 2 * noise, unit=unit, limit=60, smallest=unit):
        clock = 1 + drift * step
        points += [
            Point(channels=c, ns=round(truth(c) * clock * (1 + noise * draw.gauss(0, 1))), noise=noise) for c in probes
        ]
        step += 1
    return points, fit_staircase(points, 2 * noise, unit=unit)


def sharp_edges(truth: Truth, width: int, resolution: float) -> set[int]:
    """Edges of the padded-up truth that may be claimed."""
    padded, edges = truth(width), set()
    for channels in range(width - 1, 0, -1):
        if padded / truth(channels) - 1 >= 1.2 * claimable_step(resolution):
            edges.add(channels)
        padded = min(padded, truth(channels))
    return edges


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("truth", "width", "noise"),
    [
        (stairs(8), 256, 0.002),
        (stairs(16), 256, 0.004),
        (stairs(16), 512, 0.002),
        (stairs(32), 512, 0.003),
        (stairs(48), 480, 0.003),
        (stairs(64), 512, 0.003),
        (stairs(16, slope=500), 256, 0.002),
        (stairs(16, remainder=2e4), 256, 0.003),
        (line_then_blocks, 256, 0.003),
        (jump_inside_a_block, 256, 0.002),
        (another_kernel_but_for_multiples_of_4, 256, 0.003),
        (pieces_of_eight_four_two_and_one, 512, 0.004),
        (vectors_of_16_in_blocks_of_64, 512, 0.004),
        (vectors_of_8_in_blocks_of_32, 512, 0.004),
        (slower_where_rows_fall_on_each_other, 512, 0.004),
    ],
)
def test_all_edges_and_no_others_from_a_tenth_of_the_probes(truth: Truth, width: int, noise: float, seed: int) -> None:
    points, found = explore(truth, width, noise, seed)
    true = sharp_edges(truth, width, 2 * noise)
    assert true
    assert true <= set(found.edges)
    assert set(found.sharp_edges) <= sharp_edges(truth, width, 0.0)
    assert len(points) <= 0.1 * width
    assert found.regimes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [256, 512])
def test_a_narrow_end_without_a_block_hides_no_edge_above_it(width: int, seed: int) -> None:
    points, found = explore(few_channels_in_ways_of_their_own, width, 0.003, seed)
    true = sharp_edges(few_channels_in_ways_of_their_own, width, 0.006)
    assert {1, 4, 8, 16, 32, 48} <= true
    assert true <= set(found.edges)
    assert set(found.sharp_edges) <= sharp_edges(few_channels_in_ways_of_their_own, width, 0.0)
    assert len(points) <= 0.13 * width
    assert found.regimes[0].low <= 16


@pytest.mark.parametrize("seed", range(3))
def test_counts_that_run_slower_than_their_neighbours_leave_no_edge(seed: int) -> None:
    points, found = explore(cheap_but_for_multiples_of_4, 256, 0.003, seed)
    assert {edge for edge in found.sharp_edges if edge > 32} <= {255}  # the width itself is a multiple of 4
    assert len(points) <= 26


@pytest.mark.parametrize("seed", range(3))
def test_three_kernels_in_one_curve_take_a_few_probes_more(seed: int) -> None:
    points, found = explore(three_blocks, 256, 0.002, seed)
    assert sharp_edges(three_blocks, 256, 0.004) <= set(found.edges)
    assert set(found.sharp_edges) <= {*range(16, 97, 16), 96, 144, 192, 256}
    assert len(points) <= 32


@pytest.mark.parametrize("seed", range(3))
def test_a_drift_between_the_steps_below_the_resolution_moves_no_edge(seed: int) -> None:
    _, found = explore(stairs(16), 256, 0.003, seed, drift=0.001)
    assert found.edges == tuple(range(16, 257, 16))


def test_noise_alone_is_one_tread_and_asks_for_nothing_after_the_grid() -> None:
    treads = more = 0
    for seed in range(100):
        points, found = explore(lambda channels: 1e6, 256, (0.002, 0.01, 0.03)[seed % 3], seed)
        treads += len(found.treads) > 1
        more += len(points) > 14
    assert treads == 0
    assert more <= 3


@pytest.mark.parametrize("seed", range(4))
def test_spikes_are_padded_over(seed: int) -> None:
    spikes = random.Random(seed).sample([17, 33, 49, 81, 112, 129, 144, 177], 2)
    truth = stairs(16)
    _, found = explore(lambda c: truth(c) * (1.5 if c in spikes else 1), 256, 0.002, seed)
    assert set(range(16, 257, 16)) <= set(found.edges)
    assert set(found.sharp_edges) <= {*range(16, 257, 16)}


def test_edges_without_a_block_are_halved_down_to_the_channel() -> None:
    def truth(channels: int) -> float:
        return 1e6 * (0.3 if channels <= 21 else 0.5 if channels <= 64 else 0.8 if channels <= 107 else 1.0)

    points, found = explore(truth, 128, 0.003, 0)
    assert found.sharp_edges == (21, 64, 107)
    assert len(points) <= 34


def test_a_fit_is_not_believed_before_edges_of_every_quarter_were_seen_from_both_sides() -> None:
    """A change of kernel between the points of the grid would otherwise pass in silence."""
    points, found = explore(stairs(16), 512, 0.002, 0)
    counts = {point.channels for point in points}
    seen = [edge for edge in found.sharp_edges if {edge, edge + 1} <= counts]
    quarters = {min(3, 4 * (edge - 1) // 512) for edge in seen}
    assert quarters == {0, 1, 2, 3}


def test_only_counts_that_can_be_built_are_asked_for() -> None:
    points, found = explore(stairs(16), 256, 0.002, 0, unit=4)
    assert all(point.channels % 4 == 0 for point in points)
    assert set(range(16, 257, 16)) <= set(found.edges)


def test_probing_ends_within_the_limit_and_never_repeats_a_count() -> None:
    draw, points = random.Random(0), []
    while probes := next_probes(points, 512, 0.001, limit=24):
        points += [Point(channels=c, ns=draw.randint(10_000, 10_000_000), noise=0.001) for c in probes]
    assert len(points) <= 24
    assert len({point.channels for point in points}) == len(points)


def test_the_coarse_grid_is_small_and_holds_both_ends() -> None:
    for width in range(1, 2100):
        grid = coarse_grid(width)
        assert (grid[0], grid[-1]) == (1, width)
        assert len(grid) <= 13
        assert list(grid) == sorted(set(grid))
    assert coarse_grid(64, 16)[0] == 16
    assert all(count % 4 == 0 for count in coarse_grid(256, 4, 4))
    assert {count % 16 for count in coarse_grid(256)} == {0, 1, 4}  # on a block and beside one, odd and even
