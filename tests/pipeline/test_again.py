"""A search that ends over the budget, or far below it, is done again with what was learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_machine import PASSED, PlantedProcess, PlantedTimer, every_second, line_of, task_of
from test_line import request

from tailor.console import SilentReporter
from tailor.finalists import Finalist
from tailor.latency.profile import Profile
from tailor.pipeline import confirming, searching
from tailor.pipeline.again import after_refusal, with_room_left
from tailor.pipeline.anchoring import anchored
from tailor.pipeline.begin import begin
from tailor.pipeline.searching import searched
from tailor.protocols import LatencyModel
from tailor.records import Anchor, Budget, Estimate, Interval, Outcome, SearchSummary, Trial
from tailor.search import Once, SearchResult, SearchSpace
from tailor.serialize import read_record
from tailor.spec import Widths


def searched_with(
    place: Path,
    name: str,
    profiled: Profile,
    fresh: PlantedProcess,
    monkeypatch: pytest.MonkeyPatch,
    timer: PlantedTimer | None = None,
) -> tuple[Widths, Anchor]:
    """A whole search among every second width, timed a tenth too fast before a fresh process tells the truth."""
    monkeypatch.setattr(searching, "_timer", lambda line, dense_ns: timer or PlantedTimer(profiled, 0.9, half=0.0))
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


RESULT = SearchResult(trials=(), seconds=1.0, planned=1, limit_ns=1)


def trial_of(number: int, widths: Mapping[str, int], score: float, ns: int) -> Trial:
    latency = Estimate(ns=ns, low_ns=ns, high_ns=ns)
    return Trial(number=number, cycle=0, origin="planted", widths=widths, score=score, seconds=0.0, latency=latency)


def test_what_was_not_refused_for_its_latency_teaches_nothing(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "uniform"), PlantedTimer(profiled, 1.0)
    aim = round(0.75 * profiled.dense_ns)
    task = task_of(line, profiled, timer, every_second(line), aim)
    latency = anchored(task)
    trial = trial_of(0, line.graph.dense_widths, 0.5, aim)
    slow = Interval(value=0.8, low=0.79, high=0.81)
    finalist = Finalist(trial, slow)
    too_slow = replace(PASSED, outcome=Outcome.FAIL, ratio=slow)
    unequal = replace(too_slow, ratio=replace(slow, high=0.7), equivalent=False)
    assert after_refusal(task, latency, RESULT, [(finalist, unequal)]) is None
    measured = replace(task, line=replace(line, method=replace(line.method, latency="measured")))
    assert after_refusal(measured, latency, RESULT, [(finalist, too_slow)]) is None
    (line.folder.path / "trials.jsonl").touch()
    found = after_refusal(task, latency, RESULT, [(finalist, too_slow)])
    assert found is not None
    assert found.factor == pytest.approx(0.81 / 0.75, rel=1e-4)
    in_time = replace(too_slow, budget=Budget.parse("2ms"), limit_ns=2_000_000, pruned=replace(slow, high=2.2e6))
    (line.folder.path / "trials.jsonl").touch()
    later = after_refusal(task, latency, RESULT, [(finalist, in_time)])  # a time: against the latency
    assert later is not None
    assert later.factor == pytest.approx(1.1 * found.factor, rel=1e-4)
    assert not (line.folder.path / "trials.jsonl").exists()


def test_a_method_that_measures_every_structure_has_nothing_to_learn_from_room_left(
    tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", "netadapt"), PlantedTimer(profiled, 1.0)
    candidates, aim = every_second(line), round(0.75 * profiled.dense_ns)
    narrowest = {group: own[0] for group, own in candidates.items()}
    finalists = [
        Finalist(trial_of(0, narrowest, 0.5, round(0.3 * profiled.dense_ns)), Interval(value=0.3, low=0.29, high=0.31)),
        Finalist(trial_of(1, line.graph.dense_widths, 0.9, aim), Interval(value=0.8, low=0.79, high=0.81)),
    ]
    task = task_of(line, profiled, timer, candidates, aim)
    latency = anchored(task)
    measured = replace(task, line=replace(line, method=replace(line.method, latency="measured")))
    assert with_room_left(measured, latency, RESULT, finalists) is None
    (line.folder.path / "trials.jsonl").touch()
    found = with_room_left(task, latency, RESULT, finalists)  # one that predicts them has
    assert found is not None
    assert found.factor == pytest.approx(0.81 / 0.75, rel=1e-4)


class LateTimer(PlantedTimer):
    """A machine that is slower from the first search on: what was measured at the limit before says nothing of it."""

    def __init__(self, profiled: Profile, sessions: int, later: float) -> None:
        super().__init__(profiled, 1.0)
        self.sessions, self.later = sessions, later

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        found = super().ratios(structures)
        if len(self.asked) <= self.sessions:
            return found
        values = [self.later * each.value for each in found]
        return [Interval(value=value, low=0.99 * value, high=1.01 * value) for value in values]


class SlowButNarrowest(LateTimer):
    """A machine on which from the first search on nothing is fast but the narrowest."""

    def __init__(self, profiled: Profile) -> None:
        super().__init__(profiled, 2, 1.0)

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        found = super().ratios(structures)
        if len(self.asked) <= self.sessions:
            return found
        slow = Interval(value=0.8, low=0.79, high=0.81)
        narrowest = [widths["inner.0"] == widths["head.0"] == 4 for widths in structures]
        return [each if fast else slow for fast, each in zip(narrowest, found, strict=True)]


class Widest:
    """Scores a structure by its share of the dense latency."""

    def __init__(self, profiled: Profile) -> None:
        self.profiled = profiled

    def score(self, widths: Widths) -> float:
        return self.profiled.latency.predict(widths).ns / self.profiled.dense_ns


class AtTheLimit(Once):
    """Proposes the narrowest structure, and else only what the limit hardly lets through."""

    _origin = description = "planted"

    def __init__(self, space: SearchSpace, latency: LatencyModel) -> None:
        super().__init__()
        self.space, self.latency = space, latency

    def _found(self) -> Iterator[Widths]:
        rng = np.random.default_rng(0)
        drawn = {Widths({g: int(rng.choice(own)) for g, own in self.space.candidates.items()}) for _ in range(500)}
        fitting = sorted(filter(self.space.feasible, drawn), key=lambda widths: self.latency.predict(widths).ns)
        yield from (self.space.narrowest, *fitting[-12:])


def test_a_search_whose_best_measured_too_slow_is_done_again_instead_of_giving_the_room_away(
    tmp_path: Path, profiled: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_evaluator", lambda line: Widest(profiled))
    monkeypatch.setattr(searching, "strategy_of", lambda method, space, ground, seed: AtTheLimit(space, ground.latency))
    timer, fresh = LateTimer(profiled, 2, 1.15), PlantedProcess(profiled, 1.15)
    widths, anchor = searched_with(tmp_path / "run", "lacp", profiled, fresh, monkeypatch, timer)
    assert anchor.search == 2
    assert anchor.factor == pytest.approx(1.15 * 1.01, rel=0.001)  # by the upper ends
    share = 1.15 * profiled.latency.predict(widths).ns / profiled.dense_ns
    assert 0.9 * 0.75 < share <= 0.75
    assert len(fresh.judged) == 1
    journal = [json.loads(each) for each in (tmp_path / "run" / "trials.jsonl").read_text().splitlines()[1:]]
    assert [trial["origin"] for trial in journal] == ["earlier search", *["planted"] * 13]
    assert journal[0]["widths"] == journal[1]["widths"] == dict(anchor.kept[0])  # the best of before is not lost
    summary = read_record(tmp_path / "run" / "search.json", SearchSummary)
    assert (anchor.tried, summary.structures) == (13, 13 + 14)
    assert dict(widths) == journal[summary.best]["widths"]
    (tmp_path / "run" / "keep.json").unlink()  # as if stopped before the end: the second search is replayed
    slow = PlantedTimer(profiled, 1.15)
    again, same = searched_with(tmp_path / "run", "lacp", profiled, fresh, monkeypatch, slow)
    assert dict(again) == dict(widths)
    assert (same.factor, same.search) == (anchor.factor, 2)
    assert read_record(tmp_path / "run" / "search.json", SearchSummary).structures == summary.structures


def test_giving_room_away_ends_too(tmp_path: Path, profiled: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever predictions say, all but the narrowest take longer: after three searches it is taken, and told."""
    monkeypatch.setattr(searching, "_evaluator", lambda line: Widest(profiled))
    monkeypatch.setattr(searching, "strategy_of", lambda method, space, ground, seed: AtTheLimit(space, ground.latency))
    timer, fresh = SlowButNarrowest(profiled), PlantedProcess(profiled, 1.0)
    widths, anchor = searched_with(tmp_path / "run", "lacp", profiled, fresh, monkeypatch, timer)
    assert anchor.search == 3
    assert dict(widths) == anchor.kept[0]
    assert len(fresh.judged) == 1
