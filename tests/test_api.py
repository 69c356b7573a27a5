"""The public face: every name is there, and the long calls take plain arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tailor
from tailor.errors import InvalidBudgetError
from tailor.latency.profile import Profile
from tiny_net import make

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", tailor.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(tailor, name).__name__ == name
    assert name in dir(tailor)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="tailer"):
        tailor.tailer  # noqa: B018


def test_a_profile_predicts_whole_networks(tmp_path: Path) -> None:
    model = make()
    profile = tailor.profile(model, X, tailor.Target(threads=1), networks=12, database=tmp_path / "measurements.sqlite")
    graph = tailor.trace(model, X)
    latency = profile.latency
    dense, narrow = latency.predict(graph.dense_widths), latency.predict(graph.smallest_widths)
    assert isinstance(profile, Profile)
    assert narrow.ns < dense.ns
    assert dense.low_ns <= dense.ns <= dense.high_ns


def test_a_malformed_budget_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidBudgetError, match="140%"):
        tailor.prune(make(), X, target=tailor.Target(), budget="140%", data="digits", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_surgery_alone_is_proven_and_leaves_the_model_alone() -> None:
    model = make()
    graph = tailor.trace(model, X)
    kept = {g.name: tuple(range(g.width if g.pinned else g.width // 2)) for g in graph.groups}
    plan = tailor.KeepPlan(fingerprint=graph.fingerprint, kept=kept)
    small = tailor.cut(model, graph, plan)
    assert sum(p.numel() for p in small.parameters()) == graph.parameters(plan.widths)
    assert graph.macs(plan.widths) < graph.macs(graph.dense_widths)
    assert model.inner[0].out_channels == 96
