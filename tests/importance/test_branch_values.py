"""What a branch is worth: its groups, and what its last norm scales, which the rest of the stream does not count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tailor.channels import trace
from tailor.importance import Calibration, Observed, importance_named, rank
from tailor.importance.branches import valued_branches
from tailor.models.resnet import ResNet
from tailor.spec import ChannelGraph


def observed() -> tuple[nn.Module, ChannelGraph, Observed, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model, batch = ResNet((1, 2, 1, 1), width=0.125).eval(), (torch.randn(4, 3, 16, 16), torch.arange(4))
    graph = trace(model, batch[0][:1], depth=True)
    calibration = Calibration(model=model, graph=graph, batches=lambda: [batch])
    found = importance_named("bn-taylor", calibration=calibration)
    assert isinstance(found, Observed)
    return model, graph, found, batch


def test_a_branch_is_worth_what_its_last_norm_says_alone() -> None:
    model, graph, found, (images, labels) = observed()
    F.cross_entropy(model(images), labels).backward()
    for branch in graph.removable:
        norm = model.get_submodule(f"{branch.name}.bn2")
        plain = norm.weight * norm.weight.grad + norm.bias * norm.bias.grad
        assert found.branches[branch.name] == pytest.approx(float(plain.detach().abs().sum()), rel=1e-4)
    assert set(found.branches) == {branch.name for branch in graph.removable}


def test_only_where_the_branch_stays_its_worth_counts() -> None:
    model, graph, found, _ = observed()
    branch = graph.removable[1]
    group = branch.groups[0]
    candidates = {g.name: (0, 2, g.width) if g.name == group else (g.width,) for g in graph.groups}
    values = rank(model, graph, found).values(candidates)
    told = valued_branches(values, candidates, graph, found.branches)
    worth = found.branches[branch.name]
    assert told[group][0] == values[group][0] == 0
    np.testing.assert_allclose(np.subtract(told[group][1:], values[group][1:]), worth)
    assert {name: own for name, own in told.items() if name != group} == {
        name: own for name, own in values.items() if name != group
    }
