"""The whole line where only branches can go: widths are bound, so that `mdp` has to remove some."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from test_line import X, request
from torch import Tensor, nn

import tailor
from tailor.channels.nothing import Gone
from tailor.console import SilentReporter
from tailor.errors import InvalidOptionError
from tailor.methods import method_named
from tailor.pipeline import prune
from tailor.pipeline.begin import begin
from tailor.records import Budget
from tailor.training import recipe_named


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(32, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96)
        self.b, self.last = nn.Conv2d(96, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.last(self.b(torch.relu(self.norm(self.a(x))))))


def blocks() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
        return nn.Sequential(stem, *(Block() for _ in range(4)), head).eval()


def test_branches_are_removed_and_the_result_is_saved_and_verified(tmp_path: Path) -> None:
    data = request(tmp_path / "x").data.limited(train=256, heldout=64)
    asked = request(
        tmp_path / "run", model=blocks(), method="mdp", cycles=None, population=1, min_width=96, data=data,
        recipe=recipe_named("none"), budget=Budget.parse("70%"), networks=8, protocol="quick",
    )
    result = prune(asked, console=SilentReporter())
    removed = [group for group, width in result.widths.items() if not width]
    assert removed
    assert set(removed) <= {f"{n}.a" for n in range(2, 5)}  # the first block stays
    assert {width for group, width in result.widths.items() if group.endswith(".a")} <= {0, 96}
    assert result.verdict.equivalent
    assert result.verdict.ratio.value < 0.85
    again = tailor.load(result.out, blocks())
    torch.testing.assert_close(again(X), result.model(X))
    assert sum(isinstance(module, Gone) for module in again.modules()) == 4 * len(removed)
    assert result.reductions.parameters[1] == sum(p.numel() for p in again.parameters())


def test_depth_is_asked_of_methods_that_know_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="lacp does not remove branches"):
        begin(request(tmp_path / "run", method="lacp", depth=True), SilentReporter())
    line = begin(request(tmp_path / "mdp", method="mdp", depth=False, cycles=None), SilentReporter())
    assert line.graph.branches == ()


def test_a_recipe_of_the_callers_own_is_a_method_too(tmp_path: Path) -> None:
    own = dataclasses.replace(method_named("uniform"), name="mine", training_images=8)
    line = begin(request(tmp_path / "run", method=own, cycles=None, population=None), SilentReporter())
    assert line.method == own
