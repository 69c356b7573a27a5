"""The share of importance that stays: all of it in the dense network, and never more for fewer channels."""

import numpy as np
import pytest
from torch import nn

from tailor.importance import KeptImportance, rank
from tailor.spec import ChannelGraph, ChannelGroup

SCORES = {"a": [4.0, 3.0, 2.0, 1.0], "b": [500.0, 100.0, 0.0, 0.0], "head": [1.0]}
GRAPH = ChannelGraph(
    groups=(
        ChannelGroup(name="a", width=4),
        ChannelGroup(name="b", width=4),
        ChannelGroup(name="head", width=1, pinned="output of the network"),
    ),
    layers=(),
    tensors=(),
)


def kept(scale: str, scores: dict[str, list[float]] = SCORES) -> KeptImportance:
    ranking = rank(nn.Identity(), GRAPH, lambda model, group: np.array(scores[group.name]))
    return KeptImportance(ranking=ranking, scale=scale)


def at(a: int, b: int) -> dict[str, int]:
    return {"a": a, "b": b, "head": 1}


@pytest.mark.parametrize("scale", ["raw", "group-mean"])
def test_dense_keeps_all_and_what_is_worth_nothing_costs_nothing(scale: str) -> None:
    evaluator = kept(scale)
    assert evaluator.score(at(4, 4)) == evaluator.score(at(4, 2)) == 1
    scores = [evaluator.score(at(a, 2)) for a in (1, 2, 3, 4)]
    assert scores == sorted(scores)
    assert len(set(scores)) == 4


def test_groups_count_alike_unless_their_scores_are_of_one_kind() -> None:
    assert kept("group-mean").score(at(2, 4)) == pytest.approx((0.7 + 1) / 2)
    assert kept("group-mean").score(at(4, 1)) == pytest.approx((1 + 5 / 6) / 2)
    assert kept("raw").score(at(2, 4)) == pytest.approx(607 / 610)
    assert kept("raw").score(at(4, 1)) == pytest.approx(510 / 610)


def test_where_nothing_matters_everything_is_kept() -> None:
    assert kept("raw", {name: [0.0] * len(own) for name, own in SCORES.items()}).score(at(1, 1)) == 1
