"""A search in which nothing kept the limit ends with what the fastest structure takes."""

from __future__ import annotations

import pytest

from tailor.errors import BudgetUnreachableError
from tailor.pipeline import searching
from tailor.pipeline.searching import require_scored
from tailor.records import Estimate, Trial
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


def test_finalists_are_chosen_in_short_sessions_but_a_prescribed_protocol_stays() -> None:
    shortened = searching._screening(settings_named("default"))
    assert shortened.max_seconds == searching.SCREENING_SECONDS < settings_named("default").max_seconds
    assert searching._screening(settings_named("lacp")) == settings_named("lacp")
