"""Budgets are read strictly, estimates add, verdicts exit with their code."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailor.errors import InvalidBudgetError
from tailor.records import Budget, Conditions, Environment, Estimate, Measurement, Outcome, Stages
from tailor.serialize import decode, encode

SOURCES = ("measured", "fitted", "extrapolated")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("60%", 600),
        (" 62.5 % ", 625),
        ("5ms", 5_000_000),
        ("0.5s", 500_000_000),
        ("800us", 800_000),
        ("800µs", 800_000),
        ("90000ns", 90_000),
        ("1.5MS", 1_500_000),
    ],
)
def test_budgets_are_shares_of_the_dense_latency_or_times(text, limit):
    assert Budget.parse(text).limit_ns(1000) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "has no unit"),
        ("0%", "must be above zero"),
        ("0ms", "must be above zero"),
        ("-5ms", "must be above zero"),
        ("140%", "is no reduction"),
        ("100%", "is no reduction"),
        ("60", "has no unit"),
        ("0.6", "has no unit"),
        ("fast", "is not a latency"),
        ("", "is not a latency"),
        ("%", "is not a latency"),
        ("ms", "is not a latency"),
        ("nan%", "must be above zero"),
        ("infms", "must be above zero"),
        ("5 minutes", "is not a latency"),
    ],
)
def test_anything_else_is_refused_with_the_text(text, message):
    with pytest.raises(InvalidBudgetError, match=message) as raised:
        Budget.parse(text)
    assert raised.value.value == text
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@given(share=st.floats(0.01, 99.99), dense=st.integers(1, 10**12))
def test_a_share_never_allows_more_than_the_dense_latency(share, dense):
    assert 0 <= Budget.parse(f"{share}%").limit_ns(dense) <= dense


estimates = st.builds(
    Estimate,
    ns=st.integers(0, 10**12),
    low_ns=st.integers(0, 10**12),
    high_ns=st.integers(0, 10**12),
    source=st.sampled_from(SOURCES),
)


@given(estimates, estimates, estimates)
def test_estimates_add_in_any_order_and_the_worst_source_wins(a, b, c):
    assert a + b + c == c + (b + a)
    total = a + b
    assert (total.ns, total.low_ns, total.high_ns) == (a.ns + b.ns, a.low_ns + b.low_ns, a.high_ns + b.high_ns)
    assert SOURCES.index(total.source) == max(SOURCES.index(a.source), SOURCES.index(b.source))


def test_environments_differ_by_any_fact_and_not_by_order():
    facts = {"cpu": "x", "torch": "2"}
    assert Environment(facts=facts).key == Environment(facts=dict(reversed(facts.items()))).key
    assert Environment(facts=facts).key != Environment(facts=facts | {"torch": "3"}).key
    assert Environment(facts=facts).key != Environment(facts=facts | {"driver": "1"}).key


def test_outcomes_have_the_documented_exit_codes():
    assert {outcome.value: outcome.exit_code for outcome in Outcome} == {"PASS": 0, "FAIL": 3, "UNDECIDED": 4}


def test_the_final_accuracy_is_the_last_stages():
    assert Stages(dense=0.9).final == 0.9
    assert Stages(dense=0.9, cut=0.0).final == 0.0
    assert Stages(dense=0.9, cut=0.1, recalibrated=0.7).final == 0.7
    assert Stages(dense=0.9, cut=0.1, recalibrated=0.7, fine_tuned=0.88).final == 0.88


QUIET = Conditions(seconds=10.0, steady=True, drift=0.01, samples=100, retaken=3)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"steady": False}, "had not settled"),
        ({"drift": 0.08}, "8% slower"),
        ({"drift": -0.08}, "8% faster"),
        ({"retaken": 40}, "40 samples, which were taken again for the 100"),
        ({"pressure": 0.4}, "waited for a core during 40%"),
        ({"steal": 0.1}, "gave 10% of the cores' time to other machines"),
        ({"throttled": 2}, "quota stopped this process 2 times"),
        ({"mhz": (3000.0, 2000.0)}, "from 3000 to 2000 MHz"),
    ],
)
def test_every_disturbance_is_one_sentence_and_quiet_is_none(change: dict[str, object], fragment: str) -> None:
    assert QUIET.noisy() == ()
    (sentence,) = replace(QUIET, **change).noisy()
    assert fragment in sentence


def test_a_measurement_of_an_earlier_version_is_read_without_conditions() -> None:
    old = (
        b'{"subject":"net","environment":"e","session":"s","samples_ns":[1,2,3],"stopped":"rounds","failure":null}'
    )
    read = decode(old, Measurement)
    assert read.conditions is None
    assert read.samples_ns == (1, 2, 3)
    new = replace(read, conditions=QUIET)
    assert decode(encode(new), Measurement) == new
