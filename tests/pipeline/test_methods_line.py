"""Every method finds widths within the limit on one network, profile and data; two of them train on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_line import X, request

from tailor.channels import build
from tailor.console import SilentReporter
from tailor.engines import open_device
from tailor.errors import InvalidOptionError
from tailor.finalists import CandidateTimer
from tailor.latency.anchored import AnchoredLatency
from tailor.latency.profile import Profile
from tailor.methods import METHODS, candidate_widths
from tailor.pipeline.begin import begin
from tailor.pipeline.gradual import pruned_while_training
from tailor.pipeline.profiled import profiled_on
from tailor.pipeline.reach import within_reach
from tailor.pipeline.request import Line, PruneRequest
from tailor.pipeline.searching import search_widths
from tailor.pipeline.task import SearchTask
from tailor.spec import Widths
from tailor.timing import settings_named

SHARE = 0.7
RESIZABLE = {"lacp", "random", "eagleeye", "metapruning-evolution", "abcpruner", "bayesian"}


def asked(place: Path, name: str) -> PruneRequest:
    """The method with small populations and few training images."""
    sizes = {"cycles": 2, "population": 4} if name in RESIZABLE else {"cycles": None, "population": None}
    data = request(place).data.limited(train=256, heldout=64)
    return request(place / name, method=name, data=data, **sizes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods")


@pytest.fixture(scope="module")
def profiled(place: Path) -> Profile:
    return profiled_on(begin(request(place / "profile"), SilentReporter()))


def line_of(place: Path, name: str) -> Line:
    line = begin(asked(place, name), SilentReporter())
    if line.method.gradual is not None:  # the schedule in short
        search, gradual = replace(line.method.search, steps=4), replace(line.method.gradual, interval=3)
        line = replace(line, method=replace(line.method, search=search, gradual=gradual))
    return line


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_widths_within_the_limit(name: str, place: Path, profiled: Profile) -> None:
    line, limit = line_of(place, name), round(SHARE * profiled.dense_ns)
    candidates = candidate_widths(line.graph, profiled.candidates, line.method)
    latency = AnchoredLatency(profiled.latency, 1.02)
    after, left = pruned_while_training(line, latency, candidates, within_reach(limit, latency, candidates))
    timer = CandidateTimer(
        line.request.model, after.ranking, X, line.request.target, open_device(line.request.target),
        settings_named("quick"), profiled.dense_ns,
    )
    task = SearchTask(line=after, profiled=profiled, timer=timer, candidates=left, limit_ns=limit)
    result, _ = search_widths(task, latency)
    assert result.best is not None
    assert latency.predict(Widths(result.best.widths)).ns <= within_reach(limit, latency, left)
    line.graph.check(result.best.widths)
    assert all(result.best.widths[group] in widths for group, widths in left.items())
    if line.method.gradual is not None:
        _check_masked(line, after, result.best.widths)


def _check_masked(line: Line, after: Line, widths: Widths) -> None:
    """What was trained is masked: cut to the widths it ended with, it says the same."""
    assert (line.folder.path / "gradual.json").exists()
    whole = {group.name: group.width for group in line.graph.groups}
    whole |= {name: int((scores > 0).sum()) for name, scores in after.ranking.scores.items()}
    cut = build(after.source, line.graph, after.ranking.keep(whole)).eval()
    with torch.no_grad():
        expected = after.source(X)
        torch.testing.assert_close(cut(X), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert all(widths[group] <= whole[group] for group in widths)


@pytest.mark.parametrize("name", ["halp", "smcp"])
def test_pruning_while_training_is_taken_from_the_run_folder(name: str, place: Path, profiled: Profile) -> None:
    line, limit = line_of(place / "stored", name), round(SHARE * profiled.dense_ns)
    candidates = candidate_widths(line.graph, profiled.candidates, line.method)
    first, left = pruned_while_training(line, profiled.latency, candidates, limit)
    again, same = pruned_while_training(line, profiled.latency, candidates, limit)
    assert left == same
    assert first.ranking.order.keys() == again.ranking.order.keys()
    assert all((first.ranking.order[group] == again.ranking.order[group]).all() for group in first.ranking.order)
    torch.testing.assert_close(first.source(X), again.source(X), rtol=0, atol=0)


def test_a_search_without_populations_refuses_to_be_resized(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="uniform has neither cycles nor a population"):
        begin(request(tmp_path / "run", method="uniform"), SilentReporter())


def test_pruning_while_training_needs_gradients(tmp_path: Path) -> None:
    sizes = {"cycles": None, "population": None}
    with pytest.raises(InvalidOptionError, match="its importance must be bn-taylor"):
        begin(request(tmp_path / "run", method="halp", importance="l1", **sizes), SilentReporter())
