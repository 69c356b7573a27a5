"""The verdict follows the intervals, comes from a fresh process, and is seen red."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tailor.channels import build, trace
from tailor.errors import MeasurementError
from tailor.persist import save
from tailor.records import Budget, Interval, Outcome, TimingSettings
from tailor.spec import KeepPlan, Target
from tailor.training import load_data
from tailor.verify import VerifyJob, decide, outputs_on, verify
from tiny_net import make

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
QUICK = TimingSettings(name="test", min_rounds=12, max_rounds=30, half_width=0.05, max_seconds=10, warmup_seconds=0.2)
DENSE = Interval(value=10e6, low=9.9e6, high=10.1e6)


def span(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("budget", "ratio", "outcome"),
    [
        ("60%", span(0.55, 0.54, 0.56), Outcome.PASS),
        ("60%", span(0.60, 0.59, 0.60), Outcome.PASS),
        ("60%", span(0.59, 0.57, 0.61), Outcome.UNDECIDED),
        ("60%", span(0.65, 0.61, 0.66), Outcome.FAIL),
        ("6ms", span(0.55, 0.54, 0.56), Outcome.PASS),
        ("5.5ms", span(0.55, 0.54, 0.56), Outcome.UNDECIDED),
        ("5ms", span(0.55, 0.54, 0.56), Outcome.FAIL),
        ("20ms", span(1.01, 0.99, 1.03), Outcome.FAIL),  # within the time, but no faster than dense
    ],
)
def test_the_whole_interval_decides(budget: str, ratio: Interval, outcome: Outcome) -> None:
    pruned = span(*(10e6 * share for share in (ratio.value, ratio.low, ratio.high)))
    got, reason = decide(Budget.parse(budget), ratio, DENSE, pruned)
    assert got is outcome
    assert reason


def pruned_to(model: nn.Module, share: float) -> nn.Module:
    graph = trace(model, X)
    kept = {g.name: tuple(range(g.width if g.pinned else max(1, int(g.width * share)))) for g in graph.groups}
    return build(model, graph, KeepPlan(fingerprint=graph.fingerprint, kept=kept)).eval()


def job(folder: Path, *, budget: str, share: float = 0.25) -> VerifyJob:
    dense = make()
    small = pruned_to(dense, share)
    save(small, folder)
    return VerifyJob(
        dense=dense,
        folder=folder,
        example_inputs=X,
        expected=outputs_on(small, X),
        target=Target(threads=1),
        budget=Budget.parse(budget),
        settings=QUICK,
        instances=2,
        data=None,
    )


def test_a_fresh_process_passes_what_keeps_the_budget(tmp_path: Path) -> None:
    asked = replace(job(tmp_path, budget="95%"), data=load_data("digits").limited(train=1, heldout=1))
    verdict = verify(asked)
    assert verdict.outcome is Outcome.PASS
    assert verdict.equivalent
    assert verdict.ratio.high < 0.95
    assert verdict.instances == 2
    assert verdict.accuracy is not None
    assert verdict.dense_accuracy is not None
    assert verdict.limit_ns == int(0.95 * round(verdict.dense.value))


def test_the_verdict_is_seen_red_when_the_budget_is_out_of_reach(tmp_path: Path) -> None:
    verdict = verify(job(tmp_path, budget="1%"))
    assert verdict.outcome is Outcome.FAIL
    assert "asked 1.0 %" in verdict.reason


def test_the_verdict_is_seen_red_when_the_saved_network_is_another(tmp_path: Path) -> None:
    asked = job(tmp_path, budget="95%")
    tampered = pruned_to(make(), 0.25)
    with torch.no_grad():
        tampered.classifier.bias.add_(1.0)
    save(tampered, tmp_path)
    verdict = verify(asked)
    assert verdict.outcome is Outcome.FAIL
    assert not verdict.equivalent
    assert "outputs" in verdict.reason


def test_a_failing_process_says_its_last_words(tmp_path: Path) -> None:
    asked = job(tmp_path, budget="95%")
    (tmp_path / "model.json").unlink()
    with pytest.raises(MeasurementError, match=r"model\.json is missing"):
        verify(asked)
