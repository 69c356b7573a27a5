"""A flat target is told before the profile; a budget below what narrowing can gain ends the run there."""

from __future__ import annotations

from collections.abc import Sequence
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
from tailor.spec import Target, Widths
from tiny_net import make

X = torch.zeros(1, 3, 32, 32)


class Said:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def stage(self, title: str) -> None:
        """Not of interest."""

    def say(self, line: str) -> None:
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
    with pytest.raises(BudgetUnreachableError, match=r"budget 60% cannot be reached with lacp.*take 95%"):
        reach.check_reach(line("60%", tmp_path))
    assert asked["above"] == 0.6


def test_a_network_that_gains_is_really_timed_and_nothing_is_said(tmp_path: Path) -> None:
    started = line("80%", tmp_path)
    reach.check_reach(started)
    assert started.console.warned == []


class OneIsSlow:
    """Networks with a group of one channel take as long as the dense one, all others a third of it."""

    def __init__(self) -> None:
        self.asked: list[Widths] = []

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        self.asked += structures
        values = [0.9 if 1 in widths.values() else 0.3 for widths in structures]
        return [Interval(value=value, low=value - 0.01, high=value + 0.01) for value in values]


@pytest.mark.parametrize(("budget", "asked"), [(950, 1), (500, 3)])
def test_candidates_of_one_channel_that_are_slow_do_not_end_a_run(tmp_path: Path, budget: int, asked: int) -> None:
    started, timer = line("50%", tmp_path), OneIsSlow()
    candidates = {"a": (1, 4, 16), "b": (0, 1, 8), "c": (6,)}
    reach.check_reachable(started, timer, candidates, 1000, budget)  # type: ignore[arg-type]
    assert timer.asked == [
        Widths({"a": 1, "b": 0, "c": 6}), Widths({"a": 4, "b": 0, "c": 6}), Widths({"a": 16, "b": 0, "c": 6})
    ][:asked]
    with pytest.raises(BudgetUnreachableError, match=r"30\.0% of dense"):
        reach.check_reachable(started, timer, candidates, 1000, 200)  # type: ignore[arg-type]


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
