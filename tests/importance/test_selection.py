"""A keep plan holds the best units of each group, in order, and fits the graph."""

import itertools

import numpy as np
import pytest
from torch import nn

from tailor.errors import CutError
from tailor.importance import keep_plan, rank
from tailor.spec import ChannelGraph, ChannelGroup

SCORES = {"a": [0.5, 2.0, 0.5, 0.1, 2.0, 0.5], "b": [1.0, 1.0, 1.0, 1.0], "head": [0.0, 9.0]}
GRAPH = ChannelGraph(
    groups=(
        ChannelGroup(name="a", width=6),
        ChannelGroup(name="b", width=4, quantum=2),
        ChannelGroup(name="head", width=2, pinned="output of the network"),
    ),
    layers=(),
    tensors=(),
)
MODEL = nn.Identity()


def planted(model, group):
    return np.array(SCORES[group.name])


def test_the_highest_scores_are_kept_and_ties_go_to_the_lower_index():
    plan = keep_plan(MODEL, GRAPH, {"a": 4, "b": 2, "head": 2}, planted)
    assert plan.kept == {"a": (0, 1, 2, 4), "b": (0, 1), "head": (0, 1)}
    GRAPH.check_plan(plan)


@pytest.mark.parametrize("width", range(1, 7))
def test_what_is_kept_outweighs_what_goes(width):
    scores = np.array(SCORES["a"])
    kept = keep_plan(MODEL, GRAPH, {"a": width, "b": 4, "head": 2}, planted).kept["a"]
    gone = sorted(set(range(6)) - set(kept))
    assert len(kept) == width
    assert min(scores[list(kept)]) >= max(scores[gone], default=-np.inf)


def test_a_narrower_plan_is_part_of_a_wider_one():
    ranking = rank(MODEL, GRAPH, planted)
    plans = [set(ranking.keep({"a": width, "b": 4, "head": 2}).kept["a"]) for width in range(1, 7)]
    assert all(narrow < wide for narrow, wide in itertools.pairwise(plans))


def test_a_ranking_gives_the_plans_that_keep_plan_gives():
    ranking = rank(MODEL, GRAPH, planted)
    for widths in ({"a": 1, "b": 2, "head": 2}, {"a": 6, "b": 4, "head": 2}):
        assert ranking.keep(widths) == keep_plan(MODEL, GRAPH, widths, planted)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"a": 3, "b": 3, "head": 2}, "group 'b' cannot have width 3"),
        ({"a": 3, "b": 2, "head": 1}, "pinned: output of the network"),
        ({"a": 3, "b": 2}, "miss group 'head'"),
        ({"a": 0, "b": 2, "head": 2}, "group 'a' cannot have width 0"),
    ],
)
def test_widths_that_the_graph_forbids_are_refused(widths, message):
    with pytest.raises(CutError, match=message):
        keep_plan(MODEL, GRAPH, widths, planted)
