"""Sessions are tied by what several of them timed: planted states are found, noise is none, and errors are honest."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tailor.profiling.ties import Reading, _Shared, tie_sessions

SUBJECTS = [f"layer {number}" for number in range(60)]
LEVELS = {subject: 10.0 + 0.05 * number for number, subject in enumerate(SUBJECTS)}


def timed(
    states: list[float], ties: int, *, noise: float = 0.01, copy: float = 0.0, told: float | None = None, seed: int = 0
) -> dict[str, dict[str, Reading]]:
    """Each session times some subjects of its own and so many from the first, in its state and with noise."""
    draw = random.Random(seed)
    own = len(SUBJECTS) // len(states)
    sessions = {}
    for number, state in enumerate(states):
        fresh = SUBJECTS[number * own : (number + 1) * own]
        known = draw.sample(SUBJECTS[:own], ties) if number else []
        sessions[f"session {number}"] = {
            subject: Reading(
                log=LEVELS[subject] + state + math.hypot(noise, copy) * draw.gauss(0, 1), error=told or noise
            )
            for subject in [*fresh, *known]
        }
    return sessions


def errors(sessions: dict[str, dict[str, Reading]]) -> list[float]:
    """Every level's error, over what is told of it, in the clock of the largest session."""
    tied = tie_sessions(sessions)
    clock = next(iter(tied.states))
    shift = next(state for name, state in zip(sessions, STATES, strict=True) if name == clock)
    return [(tied.levels[s].log - LEVELS[s] - shift) / tied.levels[s].error for s in SUBJECTS]


STATES = [0.02, -0.1, 0.15, 0.05, -0.03]


@pytest.mark.parametrize("seed", range(3))
def test_planted_states_are_taken_out_and_errors_are_as_told(seed: int) -> None:
    found = errors(timed(STATES, 6, seed=seed))
    assert math.sqrt(sum(error**2 for error in found) / len(found)) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_copies_that_differ_by_more_than_their_samples_tell_are_seen(seed: int) -> None:
    sessions = timed(STATES, 8, noise=0.002, copy=0.04, told=0.002, seed=seed)
    tied = tie_sessions(sessions)
    assert tied.apart == pytest.approx(0.04, rel=0.4)
    assert tied.told == pytest.approx(0.002)
    assert 0.6 * tied.apart < tied.repeats < tied.apart
    found = errors(sessions)
    assert math.sqrt(sum(error**2 for error in found) / len(found)) == pytest.approx(1, abs=0.35)


def test_the_noise_of_a_yardstick_is_no_state() -> None:
    for seed in range(5):
        sessions = timed([0.0] * 5, 1, noise=0.03, seed=seed)
        tied = tie_sessions(sessions)
        assert all(abs(state) < 0.02 for state in tied.states.values())


def test_readings_beyond_those_that_levels_and_states_need_are_the_freedom() -> None:
    one = Reading(log=1.0, error=0.01)
    assert tie_sessions({"a": dict.fromkeys("xyz", one)}).freedom == 0
    assert tie_sessions({"a": dict.fromkeys("xyz", one), "b": dict.fromkeys("xyw", one)}).freedom == 1
    assert tie_sessions({"a": dict.fromkeys("xyz", one), "b": dict.fromkeys("xyz", one)}).freedom == 2
    assert tie_sessions(dict[str, dict[str, Reading]]()).levels == {}


def test_a_session_that_nothing_ties_is_taken_as_it_is() -> None:
    sessions = timed([0.0, 0.3], 0, noise=0.001)
    tied = tie_sessions(sessions)
    assert (tied.freedom, tied.repeats) == (0, tied.told)
    assert tied.states == {"session 0": 0.0, "session 1": 0.0}
    assert tied.levels[SUBJECTS[-1]].log == pytest.approx(LEVELS[SUBJECTS[-1]] + 0.3, abs=0.005)
    assert tied.levels[SUBJECTS[-1]].error > tied.levels[SUBJECTS[0]].error


def test_states_and_doubts_are_those_of_the_whole_system_of_equations() -> None:
    """Levels and states side by side in one system: what eliminating the levels must not change."""
    shared = _Shared.of(sorted(timed(STATES, 7, copy=0.02).values(), key=len))
    variance, state = shared.noise + 0.01**2, 0.05**2
    states, covariance, squares = shared._solved(variance, state)
    rows, others = np.arange(len(shared.logs)), shared.sessions - 1
    design = np.zeros((len(rows), shared.subjects + shared.sessions))
    design[rows, shared.subject] = 1
    design[rows, shared.subjects + shared.session] = 1
    design = np.delete(design, shared.subjects, axis=1)  # the clock's state is 0
    weighted = design.T / variance
    inverse = np.linalg.inv(weighted @ design + np.diag([0.0] * shared.subjects + [1 / state] * others))
    found = inverse @ (weighted @ shared.logs)
    np.testing.assert_allclose(states, found[-others:], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(covariance, inverse[-others:, -others:], rtol=1e-6)
    doubt = np.einsum("ij,jk,ik->i", design, inverse, design)
    np.testing.assert_allclose(squares, (shared.logs - design @ found) ** 2 + doubt, rtol=1e-6)
