"""The planted device is learned from few noisy networks, and the held-out error tells the truth about the fit."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from planted import chain, lone_of, network_truth

from tailor.errors import MeasurementError
from tailor.latency.factored import FactoredLatency, LoneLayer
from tailor.latency.fitting import FactoredFit, fit_error, fit_factored, kendall_tau
from tailor.spec import ChannelGraph, Widths

GRAPH = chain([32, 32, 48, 64, 64, 64])
Sample = tuple[Widths, int, float]


def samples(graph: ChannelGraph, count: int, noise: float, seed: int = 0) -> list[Sample]:
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        share = draw.uniform(0.1, 1)
        shares = {g: min(1.0, share * draw.uniform(0.5, 1.5)) for g in graph.groups}
        widths = Widths({g.name: max(4, round(g.width * part)) for g, part in shares.items()})
        made.append((widths, round(network_truth(graph, widths) * (1 + noise * draw.gauss(0, 1))), noise))
    return made


def fit(measured: list[Sample], lone: dict[str, LoneLayer] | None = None, seed: int = 0) -> FactoredFit:
    dense = GRAPH.dense_widths
    dense_ns = round(network_truth(GRAPH, dense))
    return fit_factored(GRAPH.layers, lone or lone_of(GRAPH), measured, dense=dense, dense_ns=dense_ns, seed=seed)


def errors_on_unseen(found: FactoredFit) -> np.ndarray:
    latency = FactoredLatency(found.terms)
    unseen = samples(GRAPH, 60, 0.0, seed=99)
    return np.array([abs(latency.predict(widths).ns / truth - 1) for widths, truth, _ in unseen])


def test_sixty_noisy_networks_are_enough() -> None:
    found = fit(samples(GRAPH, 60, 0.01))
    errors = errors_on_unseen(found)
    assert errors.mean() < 0.015
    assert errors.max() < 0.06
    assert found.error.mean < 0.025
    assert found.error.within_10 == 1
    assert found.error.kendall_tau > 0.9
    assert found.error.networks == 60


def test_the_held_out_error_is_no_better_than_the_error_on_new_networks() -> None:
    """With pure noise for latencies nothing can be learned, and the held-out error must not pretend otherwise."""
    draw = random.Random(5)
    noise = [(widths, round(ns * draw.uniform(0.5, 2)), 0.0) for widths, ns, _ in samples(GRAPH, 40, 0.0)]
    found = fit(noise)
    assert found.error.mean > 0.2
    assert abs(found.error.kendall_tau) < 0.95


def test_whole_networks_beat_the_sum_of_lone_layers() -> None:
    lone = lone_of(GRAPH)
    unseen = samples(GRAPH, 60, 0.0, seed=99)
    summed = [
        sum(lone[x.name].at(x.inputs.size(widths), x.outputs.size(widths)) for x in GRAPH.layers) / truth - 1
        for widths, truth, _ in unseen
    ]
    assert errors_on_unseen(fit(samples(GRAPH, 60, 0.01))).mean() < np.abs(summed).mean() / 5


def test_without_any_lone_layer_the_padded_terms_still_learn() -> None:
    blank = dict.fromkeys(lone_of(GRAPH), LoneLayer(ns=0, inputs=None, outputs=None, quantum_in=8, quantum_out=8))
    assert errors_on_unseen(fit(samples(GRAPH, 80, 0.005), blank)).mean() < 0.05


def test_ten_networks_are_enough_to_correct_what_lone_layers_say() -> None:
    """Fewer networks than coefficients: what they leave open is decided by the lone layers."""
    errors = [errors_on_unseen(fit(samples(GRAPH, 10, 0.01, seed=seed))).mean() for seed in range(5)]
    assert max(errors) < 0.02


def test_a_disturbed_network_counts_little() -> None:
    measured = samples(GRAPH, 40, 0.005)
    spoilt = [
        (widths, ns * 2 if i % 8 == 0 else ns, 0.5 if i % 8 == 0 else noise)
        for i, (widths, ns, noise) in enumerate(measured)
    ]
    unaware = [(widths, ns, 0.005) for widths, ns, _ in spoilt]
    assert errors_on_unseen(fit(spoilt)).mean() < 0.02 < errors_on_unseen(fit(unaware)).mean()


def test_every_coefficient_is_non_negative_and_the_fit_is_seeded() -> None:
    measured = samples(GRAPH, 40, 0.02)
    found = fit(measured)
    assert found == fit(measured)
    assert fit(measured, seed=1).predicted_ns != found.predicted_ns
    assert found.terms.constant_ns >= 0
    kinds = ("lone", "product", "outputs", "inputs", "traffic_out", "traffic_in")
    assert all(getattr(c, kind) >= 0 for c in found.terms.coefficients for kind in kinds)


def test_the_reported_interval_holds_nine_of_ten_unseen_networks() -> None:
    found = fit(samples(GRAPH, 60, 0.01))
    assert (errors_on_unseen(found) <= found.terms.q90).mean() >= 0.85


def test_two_networks_fit_one_does_not() -> None:
    assert fit(samples(GRAPH, 2, 0.0)).error.networks == 2
    with pytest.raises(MeasurementError, match="needs 2"):
        fit(samples(GRAPH, 1, 0.0))


def test_errors_are_counted_by_hand() -> None:
    error = fit_error(np.array([100.0, 104, 93, 120]), np.array([100.0, 100, 100, 100]))
    assert error.mean == pytest.approx((0 + 0.04 + 0.07 + 0.20) / 4)
    assert error.worst == pytest.approx(0.2)
    assert (error.within_5, error.within_10) == (0.5, 0.75)
    assert error.q90 == pytest.approx(0.07 + 0.7 * 0.13)


def test_kendall_tau_is_the_count_over_all_pairs() -> None:
    draw = random.Random(0)
    a, b = ([draw.random() for _ in range(12)] for _ in range(2))
    pairs = list(itertools.combinations(range(12), 2))
    agree = sum(1 if (a[i] - a[j]) * (b[i] - b[j]) > 0 else -1 for i, j in pairs)
    assert kendall_tau(np.array(a), np.array(b)) == pytest.approx(agree / len(pairs))
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([2.0, 4, 9])) == 1
