"""Rounds are planned by what a network costs before its first round and in each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailor.profiling.pace import FEWEST_ROUNDS, MOST_ROUNDS, USUAL_ROUNDS, Pace

SECONDS = st.floats(1e-4, 10.0)


@given(SECONDS, SECONDS, st.integers(1, 40), st.integers(1, 20))
def test_what_a_session_took_is_what_is_foretold_of_another(
    prepare: float, one_round: float, rounds: int, networks: int
) -> None:
    in_rounds = networks * (rounds + 1) * one_round
    seen = Pace.seen(spent=networks * prepare + in_rounds, in_rounds=in_rounds, rounds=rounds, networks=networks)
    assert seen.prepare == pytest.approx(prepare, rel=1e-6, abs=1e-9)
    assert seen.seconds(rounds) == pytest.approx(prepare + (rounds + 1) * one_round, rel=1e-6)


def test_where_a_device_does_not_tell_all_time_counts_as_rounds() -> None:
    assert Pace.seen(spent=8.0, in_rounds=None, rounds=3, networks=2) == Pace(prepare=0.0, one_round=1.0)


@given(SECONDS, SECONDS, st.floats(0.0, 100.0))
def test_rounds_are_the_most_that_fit_and_never_too_few(prepare: float, one_round: float, seconds: float) -> None:
    pace = Pace(prepare=prepare, one_round=one_round)
    rounds = pace.rounds(seconds)
    assert FEWEST_ROUNDS <= rounds <= MOST_ROUNDS
    assert rounds == MOST_ROUNDS or pace.seconds(rounds + 1) > seconds * (1 - 1e-9)
    if pace.seconds(rounds) > seconds * (1 + 1e-9):  # more than fit: only so far as timing costs what making ready does
        assert rounds <= max(FEWEST_ROUNDS, min(USUAL_ROUNDS, prepare / one_round))
