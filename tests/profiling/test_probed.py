"""What sessions of whole networks say together, with and without the state that the host was in."""

from __future__ import annotations

import math

import numpy as np

from tailor.profiling.networks import NetworkTime
from tailor.profiling.probed import Probed, Said
from tailor.spec import Widths

NETWORKS = [Widths({"g": width}) for width in range(1, 81)]


def told(networks: int, ratio: float) -> Said:
    """So many networks, each from one session, all of this ratio."""
    time = NetworkTime(ratio=ratio, low=0.98 * ratio, high=1.02 * ratio)
    return Said(sessions={widths: {"first": time} for widths in NETWORKS[:networks]})


def test_the_statistic_is_the_one_by_which_networks_fit_together() -> None:
    for quiet, usual, networks, best in (
        (0.06, 0.04, 24, "usual"),
        (0.06, 0.04, 23, "quiet"),  # too few to tell
        (0.06, 0.055, 40, "quiet"),  # hardly any better
        (0.02, 0.06, 40, "quiet"),
    ):
        errors = {1.0: quiet, 1.1: usual}
        found = Probed(said={"quiet": told(networks, 1.0), "usual": told(networks, 1.1)})
        found.choose(lambda times, errors=errors: errors[times[NETWORKS[0]].ratio])
        assert found.statistic == best
        assert found.times == found.said[best].times
        assert found.sessions is found.said[best].sessions
    assert Probed().statistic == "quiet"


def on_a_shared_host(states: list[tuple[float, float]], *, noise: float, seed: int = 0) -> tuple[Said, list[float]]:
    """Eighty networks in changing company, one session a state (level, slope), and their ratios in the mean state."""
    draw = np.random.default_rng(seed)
    true = np.exp(draw.uniform(math.log(0.1), 0, len(NETWORKS)))
    said = Said()
    for number, (level, slope) in enumerate(states):
        for place in draw.permutation(len(NETWORKS))[:40]:
            log = math.log(true[place]) * (1 + slope) + level + noise * draw.standard_normal()
            reach = 1.96 * noise
            time = NetworkTime(ratio=math.exp(log), low=math.exp(log - reach), high=math.exp(log + reach))
            said.sessions.setdefault(NETWORKS[place], {})[f"session {number}"] = time
    return said, true.tolist()


def off(said: Said, true: list[float]) -> float:
    """Root mean square of the log errors of the times that all sessions say together."""
    errors = [math.log(time.ratio / true[NETWORKS.index(widths)]) for widths, time in said.times.items()]
    return math.sqrt(sum(error**2 for error in errors) / len(errors))


def roughly(true: list[float], said: Said, by: float) -> dict[Widths, float]:
    """Predictions of the networks that were timed, each off by so much at random."""
    draw = np.random.default_rng(1)
    told = {widths: ratio * math.exp(by * draw.standard_normal()) for widths, ratio in zip(NETWORKS, true, strict=True)}
    return {widths: told[widths] for widths in said.sessions}


def test_what_the_host_s_state_adds_is_taken_out() -> None:
    """Six sessions whose levels and slopes sum to zero: what remains is the samples' own noise."""
    states = [(0.05, -0.04), (-0.03, 0.03), (0.0, -0.05), (-0.04, 0.02), (0.03, 0.05), (-0.01, -0.01)]
    said, true = on_a_shared_host(states, noise=0.005)
    steady, added = said.steadied(roughly(true, said, by=0.02))
    assert off(said, true) > 0.03
    assert off(steady, true) < 0.012
    assert 0.03 < added < 0.07
    assert list(steady.sessions) == list(said.sessions)
    assert {w: list(known) for w, known in steady.sessions.items()} == {w: list(k) for w, k in said.sessions.items()}


def test_on_a_quiet_host_nothing_is_taken_out() -> None:
    """Wrong predictions are no states: what they are off by differs from network to network, not from one session on.
    """
    said, true = on_a_shared_host([(0.0, 0.0)] * 6, noise=0.005)
    steady, added = said.steadied(roughly(true, said, by=0.03))
    assert added < 0.002
    assert off(steady, true) < 1.2 * off(said, true)


def test_predictions_that_are_all_off_alike_change_nothing() -> None:
    said, true = on_a_shared_host([(0.0, 0.0)] * 4, noise=0.005)
    wrong = {widths: 1.1 * ratio**1.05 for widths, ratio in roughly(true, said, by=0.0).items()}
    steady, added = said.steadied(wrong)
    assert added < 0.002
    assert off(steady, true) < 1.2 * off(said, true)


def test_one_session_has_no_state_and_a_network_without_a_prediction_stays_as_it_is() -> None:
    said, true = on_a_shared_host([(0.1, 0.1)], noise=0.005)
    steady, added = said.steadied(roughly(true, said, by=0.02))
    assert added == 0
    assert steady.times == said.times
    said, true = on_a_shared_host([(0.1, 0.1), (-0.1, -0.1)], noise=0.005)
    predicted = roughly(true, said, by=0.02)
    left_out = next(iter(predicted))
    del predicted[left_out]
    nothing = next(iter(predicted))
    predicted[nothing] = 0.0  # a fit without a constant may say so of the smallest
    steady, _ = said.steadied(predicted)
    for untold in (left_out, nothing):
        assert steady.sessions[untold] == said.sessions[untold]
    assert steady.times != said.times
    assert said.steadied({nothing: 0.0}) == (said, 0.0)
