"""States of a shared host: planted ones are found, none is found in noise, few networks are pulled towards none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tailor.profiling.states import Deviation, SessionState, session_states


def session(level: float, slope: float, networks: int, *, rest: float = 0.02, seed: int = 0) -> list[Deviation]:
    """Networks of a session in this state, each predicted with an error of `rest` and timed to half a per cent."""
    draw = np.random.default_rng(seed)
    sizes = draw.uniform(math.log(0.1), 0, networks)
    errors = level + slope * sizes + rest * draw.standard_normal(networks)
    return [
        Deviation(predicted=math.exp(size), log_error=float(error), noise=0.005)
        for size, error in zip(sizes, errors, strict=True)
    ]


def planted(states: list[tuple[float, float]], networks: int = 24) -> dict[str, list[Deviation]]:
    return {str(place): session(*state, networks, seed=place) for place, state in enumerate(states)}


STATES = [(0.06, -0.05), (-0.02, 0.06), (-0.04, -0.01), (0.01, 0.02), (-0.03, -0.04), (0.02, 0.02)]  # sum to zero


def test_planted_states_are_found() -> None:
    found = session_states(planted(STATES))
    for state, (level, slope) in zip(found.values(), STATES, strict=True):
        assert state.level == pytest.approx(level, abs=0.02)
        assert state.slope == pytest.approx(slope, abs=0.015)
        at = -1.15  # the middle of the sizes: both numbers together are known best there
        assert state.level + at * state.slope == pytest.approx(level + at * slope, abs=0.01)


def test_what_all_sessions_share_is_no_state() -> None:
    """A prediction that is off everywhere, by a level and a slope, moves no state."""
    here = session_states(planted(STATES))
    shifted = session_states(planted([(level + 0.05, slope + 0.02) for level, slope in STATES]))
    for one, other in zip(here.values(), shifted.values(), strict=True):
        assert other.level == pytest.approx(one.level, abs=0.004)
        assert other.slope == pytest.approx(one.slope, abs=0.004)


def test_a_small_session_is_pulled_towards_what_all_sessions_share() -> None:
    """Where every prediction is a tenth too low, two networks that say so, too, are in no state."""
    few = [Deviation(predicted=0.3, log_error=0.1, noise=0.005)] * 2
    sessions = planted([(0.11, 0.0), (0.09, 0.0)] * 4)
    state = session_states({**sessions, "few": few})["few"]
    assert abs(state.level + math.log(0.3) * state.slope) < 0.005


def test_the_mean_over_all_networks_sessions_is_no_state() -> None:
    """A long session met more of the host than a short one, and says more of what is usual there."""
    sessions = {**planted(STATES), "long": session(0.05, 0.0, 200, seed=9)}
    found = session_states(sessions)
    for name in ("level", "slope"):
        total = sum(len(sessions[key]) * getattr(state, name) for key, state in found.items())
        assert total == pytest.approx(0.0, abs=1e-9)
    assert found["long"].level == pytest.approx(0.05 * 6 * 24 / (6 * 24 + 200), abs=0.01)


def test_noise_has_no_states() -> None:
    found = session_states(planted([(0.0, 0.0)] * 8))
    assert max(abs(state.level - 1.15 * state.slope) for state in found.values()) < 0.006
    assert max(abs(state.slope) for state in found.values()) < 0.01


def test_a_session_of_few_networks_is_pulled_towards_no_state() -> None:
    """Predictions are 2 % off: two networks that both seem 3 % slower say less than two dozen that do."""
    others = planted([(0.01, 0.0), (-0.01, 0.0)] * 4)

    def told(networks: int) -> float:
        alike = [Deviation(predicted=0.3, log_error=0.03, noise=0.005)] * networks
        state = session_states({**others, "alike": alike})["alike"]
        return state.level + math.log(0.3) * state.slope

    assert 0.0 < told(2) < 0.7 * told(24)
    assert told(24) == pytest.approx(0.03, abs=0.006)


def test_one_disturbed_network_moves_no_session_far() -> None:
    sessions = planted(STATES)
    calm = session_states(sessions)["0"]
    disturbed = Deviation(predicted=0.3, log_error=3.0, noise=0.005)
    moved = session_states({**sessions, "0": [*sessions["0"][1:], disturbed]})["0"]
    assert abs(moved.level - 1.15 * moved.slope - calm.level + 1.15 * calm.slope) < 0.01


def test_one_session_has_no_state() -> None:
    assert session_states({"only": session(0.1, 0.1, 24)}) == {"only": SessionState(level=0.0, slope=0.0)}
    assert session_states({}) == {}


def test_a_state_s_factor_is_a_power_of_the_size() -> None:
    state = SessionState(level=0.02, slope=-0.05)
    assert state.factor(1.0) == pytest.approx(math.exp(0.02))
    assert state.factor(0.25) == pytest.approx(math.exp(0.02) * 0.25**-0.05)
