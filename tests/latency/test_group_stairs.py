"""A group's staircase is the sum of what its width costs in every layer that it touches."""

from __future__ import annotations

import sample_run
from tailor.latency.group_stairs import group_stairs


def test_groups_with_a_choice_sum_producer_and_consumer() -> None:
    profile = sample_run.profile()
    found = group_stairs(profile)
    stairs = {(name, each.axis): each.staircase for each in profile.staircases for name in each.layers}
    group = found["features.21"]  # made by features.21, read by features.24
    widths = profile.candidates["features.21"]
    assert group.edges == widths
    for width in widths:
        assert group.at(width) == stairs["features.21", "out"].at(width) + stairs["features.24", "in"].at(width)
    assert group.treads[0].low == 1
    assert all(point.channels <= widths[-1] and point.noise > 0 for point in group.points)


def test_groups_that_touch_no_staircase_are_left_out() -> None:
    assert "features.12" not in group_stairs(sample_run.profile())
