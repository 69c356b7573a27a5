"""Planted kernels are recovered where they were not sampled, a planted jump is found, and noise grows no tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailor.errors import MeasurementError
from tailor.latency.surface import Rule, Samples, Surface, fit_surface, surface_ns
from tailor.serialize import decode, encode

BLOCK = 16


def counts(number: int, seed: int) -> tuple[np.ndarray, ...]:
    """Inputs, outputs, megabytes, milliseconds, and that nothing more follows."""
    draw = np.random.default_rng(seed)
    inputs, outputs = (draw.integers(4, 129, number).astype(float) for _ in range(2))
    aligned = draw.random(number) < 0.5  # as half of the networks that are measured
    inputs, outputs = (np.where(aligned, np.ceil(axis / 8) * 8, axis) for axis in (inputs, outputs))
    return inputs, outputs, draw.uniform(0.1, 4.0, number), draw.uniform(0.1, 4.0, number), np.zeros(number)


def padded_ns(inputs: np.ndarray, outputs: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return np.asarray(3_000 + 8 * inputs * np.ceil(outputs / BLOCK) * BLOCK)


def jumping_ns(inputs: np.ndarray, outputs: np.ndarray, *_: np.ndarray) -> np.ndarray:
    """Two kernels: that for inputs that are a multiple of 8 has a small overhead and is four times as fast."""
    product = inputs * outputs
    return np.asarray(np.where(inputs % 8 == 0, 2_000 + 2 * product, 20_000 + 8 * product + 90 * outputs))


def fetched_ns(inputs: np.ndarray, outputs: np.ndarray, megabytes: np.ndarray, *_: np.ndarray) -> np.ndarray:
    """Weights cost more once the network has left a cache of 1 to 2 megabytes."""
    return np.asarray(3_000 + inputs * outputs * (4 + 3 * np.clip(megabytes - 1, 0, 1)))


def evicted_ns(
    inputs: np.ndarray, outputs: np.ndarray, _: np.ndarray, milliseconds: np.ndarray, *__: np.ndarray
) -> np.ndarray:
    """All data cost more in a network that takes more than 1 to 2 milliseconds."""
    lost = np.clip(milliseconds - 1, 0, 1)
    return np.asarray(3_000 + 2_000 * lost + inputs * outputs * (4 + 2 * lost))


def samples(truth, number: int = 400, *, noise: float = 0.02, seed: int = 0) -> Samples:  # type: ignore[no-untyped-def]
    inputs, outputs, megabytes, milliseconds, followed = every = counts(number, seed)
    ns = truth(*every) * (1 + noise * np.random.default_rng(seed + 1).normal(size=number))
    return Samples(
        inputs=inputs, outputs=outputs, megabytes=megabytes, milliseconds=milliseconds, followed=followed, ns=ns
    )


def error_on_unseen(surface: Surface, truth) -> float:  # type: ignore[no-untyped-def]
    unseen = counts(300, seed=77)
    return float(np.abs(surface_ns(surface, *unseen) / truth(*unseen) - 1).mean())


@pytest.mark.parametrize("truth", [padded_ns, fetched_ns, evicted_ns])
def test_a_planted_kernel_is_recovered_without_a_split(truth) -> None:  # type: ignore[no-untyped-def]
    found = fit_surface(samples(truth), depthwise=False)
    assert found.rules == ()
    assert error_on_unseen(found, truth) < 0.02


def test_a_planted_jump_at_multiples_of_8_is_found() -> None:
    found = fit_surface(samples(jumping_ns), depthwise=False)
    assert found.rule == Rule(axis="inputs", question="multiple of", number=8)
    assert str(found.rule) == "inputs multiple of 8"
    assert error_on_unseen(found, jumping_ns) < 0.02


def test_a_jump_at_a_small_count_is_found() -> None:
    def small_ns(inputs: np.ndarray, outputs: np.ndarray, *_: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(outputs <= 40, 30_000 + 20 * inputs * outputs, 1_000 + 4 * inputs * outputs))

    found = fit_surface(samples(small_ns, 600), depthwise=False)
    assert found.rule is not None
    assert (found.rule.axis, found.rule.question) == ("outputs", "at most")
    assert abs(found.rule.number - 40) <= 16  # the splits tried are fifths of what was sampled
    assert error_on_unseen(found, small_ns) < 0.08


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_gives_no_split(seed: int) -> None:
    found = fit_surface(samples(lambda inputs, *_: np.full_like(inputs, 10_000), noise=0.2, seed=seed), depthwise=False)
    assert found.rules == ()


def test_outliers_hardly_count() -> None:
    clean = samples(padded_ns)
    spoilt = clean.ns * np.where(np.arange(len(clean)) % 12 == 0, 4.0, 1.0)
    found = fit_surface(replace(clean, ns=spoilt), depthwise=False)
    assert error_on_unseen(found, padded_ns) < 0.04


def test_leaves_rest_on_every_sample_whichever_the_seed_chooses_splits_by() -> None:
    many = samples(padded_ns, 1200)
    found = fit_surface(many, depthwise=False, seed=3)
    assert not found.rules
    assert found == fit_surface(many, depthwise=False, seed=4)
    assert found != fit_surface(many.at(np.arange(1100)), depthwise=False, seed=3)


def test_a_step_that_no_sample_has_crossed_by_half_costs_nothing_beyond_them() -> None:
    """A few slow samples where a step just begins: its cost would be fifty times what they are off."""
    clean = samples(padded_ns)
    barely = {axis: getattr(clean, axis) / 4.0 * 1.02 for axis in ("megabytes", "milliseconds")}
    slow = np.where(barely["milliseconds"] > 1.0, 1.05, 1.0)
    assert 2 <= (slow > 1).sum() < 20
    found = fit_surface(replace(clean, ns=clean.ns * slow, **barely), depthwise=False)
    inputs, outputs, megabytes, milliseconds, followed = counts(300, seed=77)
    told = surface_ns(found, inputs, outputs, 100 * megabytes, 100 * milliseconds, followed)
    assert float(np.abs(told / padded_ns(inputs, outputs) - 1).mean()) < 0.05


def test_what_follows_some_layers_alone_is_told_from_what_all_take() -> None:
    """A pool behind every third layer, which takes as long as the narrower of them."""
    clean = samples(padded_ns, noise=0.0)
    followed = (np.arange(len(clean)) % 3 == 0).astype(float)
    noise = 1 + 0.02 * np.random.default_rng(1).normal(size=len(clean))
    found = fit_surface(
        replace(clean, ns=(clean.ns + 400 * clean.outputs * followed) * noise, followed=followed), depthwise=False
    )
    assert found.rules == ()
    *sizes, nothing = counts(300, seed=77)
    truth = padded_ns(*sizes)
    assert float(np.abs(surface_ns(found, *sizes, nothing) / truth - 1).mean()) < 0.02
    pooled = surface_ns(found, *sizes, nothing + 1)
    assert float(np.abs(pooled / (truth + 400 * sizes[1]) - 1).mean()) < 0.02


def test_saved_is_loaded_however_deep_the_tree() -> None:
    found = fit_surface(samples(jumping_ns), depthwise=False)
    assert found.rules
    again = decode(encode(found), Surface)
    assert again == found
    assert np.array_equal(surface_ns(again, *counts(50, 5)), surface_ns(found, *counts(50, 5)))


def test_the_surface_of_a_depthwise_layer_reads_its_outputs_alone() -> None:
    inputs, outputs, *around = counts(100, 0)
    plant = replace(samples(padded_ns, 100), inputs=outputs, ns=500 + 30 * np.ceil(outputs / 16) * 16)
    found = fit_surface(plant, depthwise=True)
    assert np.array_equal(surface_ns(found, inputs, outputs, *around), surface_ns(found, outputs, outputs, *around))
    assert surface_ns(found, outputs, outputs, *around) == pytest.approx(plant.ns, rel=0.03)


def test_one_sample_is_met_and_none_is_an_error() -> None:
    one = samples(padded_ns, 1, noise=0.0)
    found = fit_surface(one, depthwise=False)
    assert surface_ns(found, *counts(1, 0)) == pytest.approx(one.ns, rel=0.01)
    with pytest.raises(MeasurementError, match="needs samples"):
        fit_surface(one.at(np.array([False])), depthwise=False)
    assert surface_ns(Surface(), *counts(1, 0)) == 0


def test_rules_ask_one_axis_or_both() -> None:
    inputs, outputs = np.array([8.0, 8, 12, 16]), np.array([16.0, 9, 16, 32])
    asked = {
        ("inputs", "multiple of", 8): [True, True, False, True],
        ("outputs", "multiple of", 8): [True, False, True, True],
        ("both", "multiple of", 8): [True, False, False, True],
        ("outputs", "at most", 16): [True, True, True, False],
    }
    for (axis, question, number), answers in asked.items():
        assert Rule(axis=axis, question=question, number=number).answers(inputs, outputs).tolist() == answers
