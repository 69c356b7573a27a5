"""The best of a search take longer than predicted: structures near them are moved to the limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from planted_machine import PlantedProcess, PlantedTimer, every_second, line_of, task_of
from test_line import request

from tailor.console import SilentReporter
from tailor.finalists import Finalist
from tailor.latency.profile import Profile
from tailor.pipeline import confirming, nearby, searching
from tailor.pipeline.anchoring import anchored
from tailor.pipeline.begin import begin
from tailor.pipeline.searching import search_widths, searched
from tailor.records import Anchor, Interval, SearchSummary
from tailor.serialize import read_record
from tailor.spec import Widths


class Uneven(PlantedTimer):
    """A machine on which every structure has an error of its own, up to 6 % and alike for structures alike.

    The wider `inner.0` is beside `head.0`, the longer it takes than predicted: what the scores below prefer.
    """

    def ratios(self, structures: list[Widths]) -> list[Interval]:  # type: ignore[override]
        self.asked.append(list(structures))
        values = [self.takes(widths) for widths in structures]
        return [Interval(value=v, low=0.995 * v, high=1.005 * v) for v in values]

    def takes(self, widths: Mapping[str, int]) -> float:
        share = self.profiled.latency.predict(Widths(widths)).ns / self.profiled.dense_ns
        return share * (1 + 0.06 * (widths["inner.0"] - widths["head.0"]) / 32)


class Inner:
    """Scores a structure by its width inside above all."""

    def score(self, widths: Widths) -> float:
        return (4 * widths["inner.0"] + sum(widths.values())) / 1000


def found_by(
    place: Path, profiled: Profile, monkeypatch: pytest.MonkeyPatch, *, near: bool = True
) -> tuple[float, float, Anchor, list[dict[str, object]]]:
    """What a search ends with: its share of the dense latency, its score, what it learnt, and its journal."""
    timer = Uneven(profiled, 1.0)
    monkeypatch.setattr(searching, "_timer", lambda line, dense_ns: timer)
    monkeypatch.setattr(searching, "_evaluator", lambda line: Inner())
    monkeypatch.setattr(confirming, "judge", PlantedProcess(profiled, 0.5))
    if not near:
        monkeypatch.setattr(nearby.Nearby, "__call__", lambda self, finalists: [])
    asked = request(place, method="lacp", resume=place.exists(), cycles=4, population=10)
    line = begin(replace(asked, data=asked.data.limited(train=256, heldout=64)), SilentReporter())
    _, keep = searched(line, replace(profiled, candidates=every_second(line)))
    anchor = line.folder.stored("anchor", Anchor)
    assert anchor is not None
    journal = [json.loads(each) for each in (place / "trials.jsonl").read_text().splitlines()[1:]]
    return timer.takes(keep.widths), Inner().score(keep.widths), anchor, journal


def test_structures_near_the_best_ones_take_the_room(
    tmp_path: Path, profiled: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, score, anchor, journal = found_by(tmp_path / "run", profiled, monkeypatch)
    assert 0.97 * 0.75 * 0.99 < share <= 0.75
    assert anchor.search == 1
    near = [trial for trial in journal if str(trial["origin"]).startswith("near ")]
    assert near
    assert journal[-len(near) :] == near  # after the strategy's own, in the same journal
    summary = read_record(tmp_path / "run" / "search.json", SearchSummary)
    assert summary.structures == len(journal)
    assert journal[summary.best] in near
    (tmp_path / "run" / "keep.json").unlink()  # as if stopped before the end: nothing is scored twice
    again, same, _, longer = found_by(tmp_path / "run", profiled, monkeypatch)
    assert (again, same) == (share, score)
    assert longer == journal
    with monkeypatch.context() as without:
        _, lower, _, _ = found_by(tmp_path / "without", profiled, without, near=False)
    assert lower < score


def test_each_is_moved_by_its_own_error_wider_or_narrower(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 1.0)
    limit = round(0.75 * profiled.dense_ns)
    task = task_of(line, profiled, timer, every_second(line), limit)
    result, near = search_widths(task, anchored(task))
    assert near is not None
    slow, fast = result.trials[0], result.trials[1]
    share = [trial.latency.ns / profiled.dense_ns for trial in (slow, fast)]
    told = [
        Interval(value=1.09 * share[0], low=1.08 * share[0], high=1.1 * share[0]),
        Interval(value=0.89 * share[1], low=0.88 * share[1], high=0.9 * share[1]),
    ]
    moved = near([Finalist(trial, ratio) for trial, ratio in zip((slow, fast), told, strict=True)])
    assert {trial.origin for trial, _ in moved} == {f"near {slow.number}", f"near {fast.number}"}
    for trial, error in moved:
        assert error == pytest.approx(1.1 if trial.origin == f"near {slow.number}" else 0.9, rel=1e-6)
        assert 0.93 * limit < error * trial.latency.ns <= 1.0001 * limit
        assert trial.score is not None
    assert near.result.trials[: len(result.trials)] == result.trials
    distinct = {Widths(trial.widths) for trial in near.result.trials}
    assert len(distinct) == len(near.result.trials)
    assert near.result.seconds > result.seconds
    assert near.searched == result.trials  # theirs are offered again once a finalist is measured, not by themselves
    slower = replace_ratio(Finalist(slow, told[0]), 1.2 * share[0])
    again = near([slower])
    assert [trial for trial, _ in again] == [trial for trial, _ in moved if trial.origin == f"near {slow.number}"]
    assert {round(error, 3) for _, error in again} == {1.2}


def replace_ratio(finalist: Finalist, high: float) -> Finalist:
    return Finalist(finalist.trial, replace(finalist.ratio, high=high))


def test_a_method_that_computes_its_answer_is_left_alone(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "uniform"), PlantedTimer(profiled, 1.0)
    task = task_of(line, profiled, timer, every_second(line), round(0.75 * profiled.dense_ns))
    _, near = search_widths(task, anchored(task))
    assert near is None
