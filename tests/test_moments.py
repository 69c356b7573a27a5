"""Moments of a shared host: planted ones are taken out, noise is left alone, levels stay."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tailor.timing import quickest_interval, steadied

SUBJECTS, ROUNDS = 20, 40
Session = tuple[dict[str, list[int]], dict[str, list[int]]]


def session(*, lasts: float, moments: float, noise: float = 0.03, seed: int = 0) -> Session:
    """Subjects of 1 to 20 us in shuffled rounds, on a host whose state lasts for so many calls; samples and places."""
    draw = np.random.default_rng(seed)
    samples: dict[str, list[int]] = {str(subject): [] for subject in range(SUBJECTS)}
    places: dict[str, list[int]] = {name: [] for name in samples}
    keep, state = math.exp(-1 / lasts), 0.0
    for _ in range(ROUNDS):
        for place, subject in enumerate(draw.permutation(SUBJECTS)):
            state = keep * state + math.sqrt(1 - keep**2) * draw.standard_normal()
            off = moments * state + noise * draw.standard_normal()
            samples[str(subject)].append(round(1e6 * (1 + subject) * math.exp(off)))
            places[str(subject)].append(place)
    return samples, places


def scatter(samples: dict[str, list[int]] | dict[str, tuple[int, ...]]) -> float:
    """How far usual levels are from the truth, but for what all have in common."""
    logs = [math.log(quickest_interval(own, "usual").value / (1 + int(name))) for name, own in samples.items()]
    return float(np.std(logs))


def test_moments_that_last_for_several_calls_are_taken_out_of_levels() -> None:
    plain, steady = [], []
    for seed in range(12):
        samples, places = session(lasts=10, moments=0.15, seed=seed)
        plain.append(scatter(samples))
        steady.append(scatter(steadied(samples, places)))
    assert np.mean(steady) < 0.6 * np.mean(plain)


def test_levels_stay_where_they_are() -> None:
    """What is taken out is 0 on average: the session's usual moment stays, and so do ratios."""
    samples, places = session(lasts=10, moments=0.15)
    before, after = (np.log([*found.values()]) for found in (samples, steadied(samples, places)))
    assert after.mean() == pytest.approx(before.mean(), abs=0.01)


def test_noise_is_left_alone() -> None:
    samples, places = session(lasts=1e-3, moments=0.0)
    for name, steady in steadied(samples, places).items():
        assert steady == pytest.approx(samples[name], rel=0.01)


def test_one_call_that_was_far_off_hardly_moves_its_neighbours() -> None:
    samples, places = session(lasts=10, moments=0.15)
    calm = steadied(samples, places)
    samples["3"][7] *= 1000
    disturbed = steadied(samples, places)
    others = [name for name in samples if name != "3"]
    assert max(abs(math.log(a / b)) for name in others for a, b in zip(calm[name], disturbed[name], strict=True)) < 0.2
    assert scatter(disturbed) == pytest.approx(scatter(calm), abs=0.01)


def test_neither_units_nor_the_subjects_order_matter() -> None:
    samples, places = session(lasts=10, moments=0.15)
    first = steadied(samples, places)
    turned = {name: [1000 * ns for ns in samples[name]] for name in reversed(samples)}
    second = steadied(turned, places)
    for name, own in first.items():
        assert second[name] == pytest.approx([1000 * ns for ns in own], rel=1e-6)


def test_without_places_and_without_neighbours_samples_are_what_they_were() -> None:
    samples, places = session(lasts=10, moments=0.15)
    raw = {name: tuple(own) for name, own in samples.items()}
    assert steadied(samples, {}) == raw
    assert steadied(samples, {**places, "3": []}) == raw  # an older record among others
    assert steadied({"alone": [7]}, {"alone": [0]}) == {"alone": (7,)}
    assert steadied({}, {}) == {}
    assert steadied({"a": [5, 5], "b": [7, 7]}, {"a": [0, 1], "b": [1, 0]}) == {"a": (5, 5), "b": (7, 7)}
