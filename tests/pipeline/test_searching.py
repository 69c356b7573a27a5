"""A search in which nothing kept the limit ends with what the fastest structure takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from planted_machine import PASSED, every_second, line_of
from torch import nn

from tailor.errors import BudgetUnreachableError
from tailor.finalists import Finalist
from tailor.pipeline import confirming
from tailor.pipeline.request import SCREENING_SECONDS, Line
from tailor.pipeline.searching import require_scored
from tailor.records import Estimate, Interval, TimingSettings, Trial, Verdict
from tailor.search import SearchResult
from tailor.timing import settings_named


def trial(number: int, ns: int, score: float | None) -> Trial:
    latency = Estimate(ns=ns, low_ns=ns, high_ns=ns)
    return Trial(
        number=number, cycle=0, origin="random", widths={"g": number + 1}, latency=latency, score=score, seconds=0.0
    )


def test_nothing_scored_names_the_fastest_measured_structure() -> None:
    trials = (trial(0, 3_000_000, None), trial(1, 2_500_000, None))
    with pytest.raises(BudgetUnreachableError, match=r"fastest one takes 2\.500 ms \(measured\)") as caught:
        require_scored(SearchResult(trials=trials, seconds=1.0, planned=2, limit_ns=2_000_000), 2_000_000)
    assert caught.value.exit_code == 3
    assert caught.value.value == 2_500_000


def test_one_scored_structure_is_enough() -> None:
    trials = (trial(0, 3_000_000, None), trial(1, 1_500_000, 0.9))
    assert require_scored(SearchResult(trials=trials, seconds=1.0, planned=2, limit_ns=2_000_000), 2_000_000) is None


def test_structures_are_chosen_in_short_sessions_but_a_prescribed_protocol_stays(tmp_path: Path) -> None:
    line = line_of(tmp_path / "run", "lacp")
    shortened = replace(line, settings=settings_named("default")).screening
    assert shortened == replace(settings_named("default"), max_seconds=SCREENING_SECONDS)
    assert replace(line, settings=settings_named("lacp")).screening == settings_named("lacp")


def test_finalists_are_judged_in_short_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TimingSettings] = []

    def judged(line: Line, small: nn.Module, folder: Path, *, data: object) -> Verdict:
        seen.append(line.settings)
        return PASSED

    monkeypatch.setattr(confirming, "judge", judged)
    line = replace(line_of(tmp_path / "run", "lacp"), settings=settings_named("default"))
    ratio = Interval(value=0.5, low=0.49, high=0.51)
    half = {group: own[len(own) // 2] for group, own in every_second(line).items()}
    finalist = Finalist(replace(trial(0, 1, 0.9), widths=half), ratio)
    assert confirming.confirmed(line, [finalist]).passed
    assert seen == [line.screening] != [line.settings]
