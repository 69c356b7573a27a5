"""A flat target is told before the profile; a budget below what narrowing can gain ends the run there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tailor.channels import trace
from tailor.errors import BudgetUnreachableError
from tailor.measuring.diagnosis import Diagnosis, diagnosis_of
from tailor.methods import method_named, narrowest_widths
from tailor.pipeline import reach
from tailor.records import Budget, Interval
from tailor.run_folder import RunFolder
from tailor.spec import Target
from tiny_net import make

X = torch.zeros(1, 3, 32, 32)


class Said:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def stage(self, title: str) -> None:
        """Not of interest."""

    def warn(self, line: str) -> None:
        """Kept."""
        self.warned.append(line)


def flat(share: float) -> Diagnosis:
    around = Interval(value=share, low=share - 0.01, high=share + 0.01)
    dense = Interval(value=1e6, low=1e6, high=1e6)
    return diagnosis_of(Target(), dense=dense, narrowest=around, busy=0.5, prunable=0.4, doubled=None)


def line(budget: str, folder: Path) -> Any:
    """As much of a run as is looked at, on a real traced network."""
    model = make()
    request = SimpleNamespace(
        model=model, example_inputs=X, target=Target(), budget=Budget.parse(budget), seed=0
    )
    return SimpleNamespace(
        request=request,
        graph=trace(model, X),
        method=method_named("lacp"),
        console=Said(),
        folder=RunFolder(folder),
    )


def test_a_flat_target_is_told_with_its_reason_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reach, "diagnose", lambda *args, **options: flat(0.95))
    started = line("97%", tmp_path)
    reach.check_reach(started)
    assert started.console.warned == list(flat(0.95).sentences)
    assert "95%" in started.console.warned[0]


def test_a_share_below_the_narrowest_network_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def planted(*args: object, **options: object) -> Diagnosis:
        asked.update(options)
        return flat(0.95)

    monkeypatch.setattr(reach, "diagnose", planted)
    with pytest.raises(BudgetUnreachableError, match=r"budget 60% cannot be reached with lacp.*takes 95%"):
        reach.check_reach(line("60%", tmp_path))
    assert asked["above"] == 0.6


def test_a_network_that_gains_is_really_timed_and_nothing_is_said(tmp_path: Path) -> None:
    started = line("80%", tmp_path)
    reach.check_reach(started)
    assert started.console.warned == []


def test_work_that_depends_on_findings_is_told_of_the_network_and_its_narrowest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[int] = []

    def planted(dense: nn.Module, narrow: nn.Module, inputs: object) -> str:
        seen.extend(sum(p.numel() for p in net.parameters()) for net in (dense, narrow))
        return "depends on what it finds"

    monkeypatch.setattr(reach, "unequal_work", planted)
    started = line("80%", tmp_path)
    reach.check_reach(started)
    assert started.console.warned == ["depends on what it finds"]
    assert seen[0] > seen[1]


def test_the_narrowest_network_keeps_what_the_method_keeps() -> None:
    graph = trace(make(), X)
    fixed = narrowest_widths(graph, method_named("lacp"))
    for group in graph.groups:
        kept_whole = group.pinned is not None or group.residual
        assert fixed[group.name] == (group.width if kept_whole else group.smallest)
