"""Predictions are put right where a search looks: before it by a planted error, and after one that came to nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from test_line import request
from torch import nn

from tailor import trace
from tailor.console import SilentReporter
from tailor.finalists import Finalist
from tailor.latency.profile import Profile
from tailor.pipeline import confirming, searching
from tailor.pipeline.anchoring import anchored, corrected_by
from tailor.pipeline.begin import begin
from tailor.pipeline.profiled import profiled_on
from tailor.pipeline.request import Line
from tailor.pipeline.searching import searched
from tailor.records import Anchor, Budget, Environment, Estimate, Interval, Outcome, Trial, Verdict
from tailor.search import SearchSpace, UniformConfig
from tailor.spec import Target, Widths


class PlantedTimer:
    """A machine on which every structure takes so much longer than predicted, and one of them far longer.

    `slope` adds to the error what a structure is predicted to take above 70 % of the dense latency, times itself.
    """

    def __init__(self, profiled: Profile, error: float, spike: float = 1.0, slope: float = 0.0) -> None:
        self.profiled, self.error, self.spike, self.slope = profiled, error, spike, slope
        self.asked: list[list[Widths]] = []

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        self.asked.append(list(structures))
        predicted = [self.profiled.latency.predict(widths).ns / self.profiled.dense_ns for widths in structures]
        values = [self.true(share) for share in predicted]
        values[0] *= self.spike
        return [Interval(value=value, low=0.99 * value, high=1.01 * value) for value in values]

    def true(self, share: float) -> float:
        return (self.error + self.slope * (share - 0.7)) * share


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return profiled_on(begin(request(tmp_path_factory.mktemp("anchoring") / "profile"), SilentReporter()))


def line_of(place: Path, name: str) -> Line:
    sizes = {} if name == "lacp" else {"cycles": None, "population": None}
    return begin(request(place, method=name, **sizes), SilentReporter())


def every_second(line: Line) -> dict[str, tuple[int, ...]]:
    """Candidates that no measurement decides."""
    return {g.name: (g.width,) if g.pinned else tuple(range(4, g.width + 1, 2)) for g in line.graph.groups}


@pytest.mark.parametrize("error", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("name", ["lacp", "uniform", "sp-lamp", "netadapt"])
def test_a_planted_error_is_found_at_the_limit(name: str, error: float, tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", name), PlantedTimer(profiled, error)
    candidates = every_second(line)
    limit = round(0.7 * profiled.dense_ns)
    found = anchored(line, profiled, timer, candidates, limit)  # type: ignore[arg-type]
    assert found.factor == pytest.approx(error, rel=1e-6)
    rounds = len(timer.asked)
    assert rounds <= (2 if error != 1.0 else 1)  # the second finds nothing more to correct
    for widths in timer.asked[0]:
        assert 0.3 * limit < profiled.latency.predict(widths).ns <= limit
    anchor = line.folder.stored("anchor", Anchor)
    assert anchor is not None
    assert anchor.spread == pytest.approx(0, abs=1e-6)
    anchored(line, profiled, timer, candidates, limit)  # type: ignore[arg-type]
    assert len(timer.asked) == rounds  # what is in the folder is not measured again


@pytest.mark.parametrize("name", ["lacp", "uniform", "sp-lamp"])
@pytest.mark.parametrize("slope", [1.0, -0.4])
def test_an_error_that_grows_with_the_network_is_found_where_the_corrected_limit_is(
    slope: float, name: str, tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", name), PlantedTimer(profiled, 0.9, slope=slope)
    limit = round(0.7 * profiled.dense_ns)
    found = anchored(line, profiled, timer, every_second(line), limit)  # type: ignore[arg-type]
    share = next(each / 10_000 for each in range(10_000) if timer.true(each / 10_000) >= 0.7)  # as planted
    assert found.factor == pytest.approx(0.7 / share, rel=0.02)


def test_one_structure_of_its_own_does_not_decide(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 1.1, spike=1.5)
    candidates = every_second(line)
    found = anchored(line, profiled, timer, candidates, round(0.7 * profiled.dense_ns))  # type: ignore[arg-type]
    assert found.factor == pytest.approx(1.1, rel=1e-6)


def test_a_method_that_computes_its_answer_is_held_against_its_own(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "uniform"), PlantedTimer(profiled, 1.0)
    line = replace(line, method=replace(line.method, search=UniformConfig(structures=2, step=0.2)))
    candidates = every_second(line)
    anchored(line, profiled, timer, candidates, round(0.7 * profiled.dense_ns))  # type: ignore[arg-type]
    free = [group for group, own in candidates.items() if len(own) > 1]
    shares = [{widths[group] / candidates[group][-1] for group in free} for widths in timer.asked[0]]
    assert len(timer.asked) == 1
    assert len(timer.asked[0]) == 2
    assert all(max(each) - min(each) < 0.1 for each in shares)


def test_where_the_narrowest_is_over_the_limit_by_prediction_it_alone_is_measured(
    tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 0.8)
    candidates = every_second(line)
    found = anchored(line, profiled, timer, candidates, 1)  # type: ignore[arg-type]
    assert timer.asked == [[SearchSpace(candidates, profiled.latency, 1).narrowest]]
    assert found.factor == pytest.approx(0.8, rel=1e-6)


class PlantedProcess:
    """A fresh process in which every network takes so much longer than predicted, or always the same share of dense."""

    def __init__(self, profiled: Profile, error: float, *, share: float | None = None) -> None:
        self.profiled, self.error, self.share = profiled, error, share
        self.judged: list[Widths] = []

    def __call__(self, line: Line, small: nn.Module, folder: Path, *, data: object) -> Verdict:
        widths = trace(small, line.request.example_inputs).dense_widths
        self.judged.append(widths)
        predicted = self.profiled.latency.predict(widths).ns / self.profiled.dense_ns
        value = self.error * predicted if self.share is None else self.share
        ratio = Interval(value=value, low=0.995 * value, high=1.005 * value)
        limit_ns = line.request.budget.limit_ns(self.profiled.dense_ns)
        outcome = Outcome.PASS if ratio.high * self.profiled.dense_ns <= limit_ns else Outcome.FAIL
        return replace(PASSED, outcome=outcome, ratio=ratio, dense=self.profiled.dense, limit_ns=limit_ns)


PASSED = Verdict(
    outcome=Outcome.PASS, reason="planted", budget=Budget.parse("75%"), limit_ns=1, target=Target(threads=1),
    dense=Interval(value=1.0, low=1.0, high=1.0), pruned=Interval(value=1.0, low=1.0, high=1.0),
    ratio=Interval(value=1.0, low=1.0, high=1.0), resolution=0.0, instances=3, equivalent=True, accuracy=None,
    dense_accuracy=None, environment=Environment(facts={}),
)


def searched_with(
    place: Path, name: str, profiled: Profile, fresh: PlantedProcess, monkeypatch: pytest.MonkeyPatch
) -> tuple[Widths, Anchor]:
    """A whole search among every second width, timed a tenth too fast before a fresh process tells the truth."""
    monkeypatch.setattr(searching, "_timer", lambda line, dense_ns: PlantedTimer(profiled, 0.9))
    monkeypatch.setattr(confirming, "judge", fresh)
    asked = request(place, method=name, resume=place.exists(), cycles=None, population=None)
    line = begin(replace(asked, data=asked.data.limited(train=256, heldout=64)), SilentReporter())
    _, keep = searched(line, replace(profiled, candidates=every_second(line)))
    anchor = line.folder.stored("anchor", Anchor)
    assert anchor is not None
    return keep.widths, anchor


@pytest.mark.parametrize("name", ["uniform", "sp-lamp"])
def test_a_search_that_came_to_nothing_is_done_again_with_what_was_learnt(
    name: str, tmp_path: Path, profiled: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = PlantedProcess(profiled, 1.2)
    widths, anchor = searched_with(tmp_path / "run", name, profiled, fresh, monkeypatch)
    assert anchor.search == 2
    assert anchor.factor == pytest.approx(1.2, rel=0.05)
    assert 1.2 * profiled.latency.predict(widths).ns <= 0.75 * profiled.dense_ns
    assert len(fresh.judged) == 3 + 1  # refused, learnt from, and then the best one passes
    trials = [json.loads(each) for each in (tmp_path / "run" / "trials.jsonl").read_text().splitlines()[1:]]
    assert all(t["latency"]["ns"] <= 0.75 * profiled.dense_ns for t in trials)
    assert dict(widths) in [t["widths"] for t in trials]
    (tmp_path / "run" / "keep.json").unlink()  # as if stopped before the end: the second search is replayed
    again, same = searched_with(tmp_path / "run", name, profiled, fresh, monkeypatch)
    assert (again, same) == (widths, anchor)


def test_searching_again_ends(tmp_path: Path, profiled: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = PlantedProcess(profiled, 1.0, share=0.9)  # as slow whatever is cut
    _, anchor = searched_with(tmp_path / "run", "uniform", profiled, fresh, monkeypatch)
    assert anchor.search == 3
    assert len(fresh.judged) == 3 * 3


def test_what_was_not_refused_for_its_latency_teaches_nothing(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "uniform"), PlantedTimer(profiled, 1.0)
    aim = round(0.75 * profiled.dense_ns)
    latency = anchored(line, profiled, timer, every_second(line), aim)  # type: ignore[arg-type]
    trial = Trial(
        number=0, cycle=0, origin="uniform", widths=line.graph.dense_widths, score=0.5, seconds=0.0,
        latency=Estimate(ns=aim, low_ns=aim, high_ns=aim),
    )
    slow = Interval(value=0.8, low=0.79, high=0.81)
    finalist = Finalist(trial, slow)
    too_slow = replace(PASSED, outcome=Outcome.FAIL, ratio=slow)
    unequal = replace(too_slow, ratio=replace(slow, high=0.7), equivalent=False)
    assert corrected_by(line, latency, [(finalist, unequal)], aim) is None
    measured = replace(line, method=replace(line.method, latency="measured"))
    assert corrected_by(measured, latency, [(finalist, too_slow)], aim) is None
    (line.folder.path / "trials.jsonl").touch()
    found = corrected_by(line, latency, [(finalist, too_slow)], aim)
    assert found is not None
    assert found.factor == pytest.approx(0.81 / 0.75, rel=1e-4)
    in_time = replace(too_slow, budget=Budget.parse("2ms"), limit_ns=2_000_000, pruned=replace(slow, high=2.2e6))
    (line.folder.path / "trials.jsonl").touch()
    later = corrected_by(line, latency, [(finalist, in_time)], aim)  # a time is held against the latency itself
    assert later is not None
    assert later.factor == pytest.approx(1.1 * found.factor, rel=1e-4)
    assert not (line.folder.path / "trials.jsonl").exists()
