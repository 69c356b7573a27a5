"""Planted coefficients come back, never negative, in spite of outliers, and small samples count as large ones do."""

from __future__ import annotations

import numpy as np
import pytest

from tailor.latency.robust import clipped_error, non_negative_fit, reweighted

DRAW = np.random.default_rng(0)
VALUES = np.stack([np.ones(400), DRAW.uniform(1, 100, 400), DRAW.uniform(1, 1e6, 400)], axis=1)
TRUTH = np.array([5_000.0, 80.0, 0.3])
NS = VALUES @ TRUTH


def test_planted_coefficients_of_very_different_size_are_recovered() -> None:
    assert non_negative_fit(VALUES, NS) == pytest.approx(TRUTH, rel=0.02)


def test_what_would_be_negative_is_nothing() -> None:
    found = non_negative_fit(VALUES, VALUES @ np.array([50_000.0, -80.0, 0.3]))
    assert (found >= 0).all()
    assert found[1] == 0


def test_one_disturbed_sample_in_ten_hardly_counts() -> None:
    disturbed = NS * np.where(np.arange(len(NS)) % 10 == 0, 3.0, 1.0)
    errors = np.abs(VALUES @ non_negative_fit(VALUES, disturbed) / NS - 1)
    plain = np.abs(VALUES @ non_negative_fit(VALUES, disturbed, rounds=1) / NS - 1)
    assert errors.mean() < 0.02 < plain.mean()


def test_fast_samples_count_as_much_as_slow_ones() -> None:
    """Fast samples say 1.04 ns per channel, slow ones 0.96: relative error takes the middle, absolute would not."""
    channels = np.repeat([20.0, 100.0], 50)
    found = non_negative_fit(channels[:, None], channels * np.repeat([1.04, 0.96], 50))
    assert found == pytest.approx([1.0], abs=0.015)


def test_weights_stay_below_the_outlier_and_fall_above_it() -> None:
    weights = reweighted(np.array([2.0, 2.0, 2.0]), np.array([0.0, -0.05, 5.0]), 0.05)
    assert weights == pytest.approx([2.0, 2 / np.sqrt(2), 0.02], rel=1e-3)


def test_an_error_above_a_third_counts_as_30_percent() -> None:
    assert clipped_error(np.array([110.0, 50.0, 900.0]), np.array([100.0, 100.0, 100.0])) == pytest.approx(0.7)
