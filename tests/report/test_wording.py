"""Numbers as words: right to the digits shown, never silently of another unit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_run
from tailor.records import Budget, Outcome, Stages
from tailor.report.wording import change, count, duration, latency, percent, points, seconds, verdict_line

PREFIXES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
UNITS = {"µs": 1e3, "ms": 1e6, "s": 1e9}


@given(st.integers(min_value=1, max_value=10**15 - 10**12))
def test_a_count_reads_back_to_half_a_percent(number: int) -> None:
    digits, _, prefix = count(number).replace(",", "").partition(" ")
    assert float(digits) * PREFIXES.get(prefix, 1) == pytest.approx(number, rel=0.0051)


@given(st.integers(min_value=1_000, max_value=10**12))
def test_a_duration_reads_back_to_half_a_percent(ns: int) -> None:
    digits, unit = duration(ns).split(" ")
    assert float(digits) * UNITS[unit] == pytest.approx(ns, rel=0.0051)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (4_910_000, "4.91 ms"),
        (999_700, "1.000 ms"),
        (999_996_000, "1.000 s"),
        (1_234_567, "1.235 ms"),
        (282_400_000, "282 ms"),
        (53_400, "53.4 µs"),
        (2.5e9, "2.50 s"),
    ],
)
def test_durations_keep_three_to_four_digits(ns: float, text: str) -> None:
    assert duration(ns) == text


def test_interval_ends_follow_the_unit_of_their_value() -> None:
    assert latency(998_000, like=1_002_000) == "0.998"


@pytest.mark.parametrize(
    ("number", "text"), [(1_424, "1,424"), (853_018, "853 k"), (999_600, "1.00 M"), (1_414_000, "1.41 M"), (97, "97")]
)
def test_counts(number: int, text: str) -> None:
    assert count(number) == text


def test_changes_are_signed_and_zero_has_no_sign_of_its_own() -> None:
    assert change(200, 109) == "\N{MINUS SIGN}45.5 %"
    assert change(100, 110) == "+10.0 %"
    assert change(1_000_000, 999_999) == "±0.0 %"
    assert change(0, 5) == "n/a"
    assert points(0.761, 0.754) == "\N{MINUS SIGN}0.70 points"
    assert percent(0.5894) == "58.9 %"


@pytest.mark.parametrize(
    ("number", "text"), [(0.24, "0.2 s"), (42.4, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_waiting_times(number: float, text: str) -> None:
    assert seconds(number) == text


def test_the_verdict_line_is_the_promised_one() -> None:
    line = "budget 60% (5.00 ms) -> measured 4.91 ms (95 % interval 4.88-4.95) PASS; top-1 97.2 -> 96.9"
    assert verdict_line(sample_run.verdict(), None) == line


def test_an_absolute_budget_is_said_once_and_accuracy_only_when_known() -> None:
    verdict = replace(
        sample_run.verdict(Outcome.FAIL), budget=Budget.parse("5ms"), accuracy=None, dense_accuracy=None
    )
    assert verdict_line(verdict, None) == "budget 5.00 ms -> measured 4.91 ms (95 % interval 4.88-4.95) FAIL"
    line = verdict_line(verdict, Stages(dense=0.8, cut=0.1, recalibrated=0.75))
    assert line.endswith("FAIL; top-1 80.0 -> 75.0")
