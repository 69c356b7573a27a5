"""A layer's two curves join into one bilinear price; predictions are pure, storable, and say when they extrapolate."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from planted import chain, lone_of, lone_truth, network_truth, stair

from tailor.latency.factored import FactoredLatency, FactoredTerms, curve_of, layer_features, lone_layer, signature_of
from tailor.latency.fitting import fit_factored
from tailor.latency.staircase import Point, fit_staircase
from tailor.serialize import decode, encode
from tailor.spec import ChannelGraph, Widths

GRAPH = chain([32, 48, 64, 64])


def fitted(graph: ChannelGraph = GRAPH) -> FactoredTerms:
    draw = random.Random(0)
    networks = [Widths({g.name: draw.randrange(8, g.width + 1) for g in graph.groups}) for _ in range(40)]
    samples = [(widths, round(network_truth(graph, widths)), 0.002) for widths in networks]
    dense = graph.dense_widths
    return fit_factored(
        graph.layers, lone_of(graph), samples, dense=dense, dense_ns=round(network_truth(graph, dense))
    ).terms


def test_both_curves_give_the_price_of_widths_never_measured_together() -> None:
    layer = GRAPH.layers[2]
    lone = lone_of(GRAPH)["conv2"]
    for inputs in (8, 16, 32, 48):
        for outputs in (8, 24, 40, 64):
            assert lone.at(inputs, outputs) == pytest.approx(lone_truth(layer.shape, inputs, outputs), rel=0.10)
    for outputs in (8, 24, 64):  # along each curve the price is the curve
        assert lone.at(48, outputs) == pytest.approx(lone_truth(layer.shape, 48, outputs), rel=0.01)


def test_a_curve_is_one_at_the_dense_width_and_reaches_nothing_at_its_intercept() -> None:
    curve = curve_of(stair(GRAPH.layers[2], "out"))
    assert curve.levels[-1] == 1.0
    assert curve.reach(64) == pytest.approx(1.0)
    assert 0 <= curve.reach(1) < curve.reach(30) < 1
    flat = curve_of(fit_staircase([Point(channels=c, ns=1000, noise=0.01) for c in (8, 16, 24)], 0.01))
    assert flat.reach(8) == flat.reach(24) == 1.0


def test_an_axis_without_stairs_costs_the_same_at_any_size() -> None:
    only_out = lone_layer(1000, None, stair(GRAPH.layers[2], "out"))
    assert only_out.at(1, 64) == only_out.at(48, 64) == pytest.approx(1000)
    assert only_out.at(48, 8) < 400
    fixed = lone_layer(1000, None, None)
    assert fixed.at(1, 1) == 1000


def test_features_are_padded_by_the_learned_block_and_count_calls_and_groups() -> None:
    terms = fitted()
    layer, lone = terms.layers[2], terms.lone[terms.layers[2].lone]
    assert (lone.quantum_in, lone.quantum_out) == (8, 8)
    features = layer_features(layer, lone, 9, 17)
    assert features.product == 16 * 24 * 9 * 64
    assert (features.outputs, features.inputs) == (24 * 64, 16 * 64)
    assert (features.traffic_out, features.traffic_in) == (17 * 64, 9 * 64)


def test_predictions_are_pure_and_agree_with_the_sum_of_factors() -> None:
    latency = FactoredLatency(fitted())
    widths = Widths({"g0": 20, "g1": 24, "g2": 40, "g3": 33})
    first = latency.predict(widths)
    sizes = [(layer.inputs.size(widths), layer.outputs.size(widths)) for layer in latency.terms.layers]
    total = latency.terms.constant_ns + sum(latency.layer_ns(i, *size) for i, size in enumerate(sizes))
    assert first == latency.predict(widths) == FactoredLatency(latency.terms).predict(widths)
    assert first.ns == round(total)
    assert first.low_ns <= first.ns <= first.high_ns
    assert first.source == "fitted"


def test_below_the_narrowest_measured_width_it_extrapolates() -> None:
    latency = FactoredLatency(fitted())
    narrowest = latency.terms.narrowest["g1"]
    assert latency.predict(GRAPH.dense_widths.but({"g1": narrowest})).source == "fitted"
    assert latency.predict(GRAPH.dense_widths.but({"g1": narrowest - 1})).source == "extrapolated"


def test_saved_is_loaded() -> None:
    terms = fitted()
    again = decode(encode(terms), FactoredTerms)
    assert again == terms
    assert FactoredLatency(again).predict(GRAPH.dense_widths) == FactoredLatency(terms).predict(GRAPH.dense_widths)


def test_layers_that_differ_in_channels_alone_share_a_signature() -> None:
    first, second, third = (signature_of(layer) for layer in GRAPH.layers[1:])
    assert second == third != first  # the first works on 16 x 16
    dense = GRAPH.layers[2]
    assert signature_of(fitted().layers[2]) == second
    deep = [replace(dense, shape=replace(dense.shape, in_channels=c, out_channels=c, groups=c)) for c in (8, 16)]
    assert signature_of(deep[0]) == signature_of(deep[1]) != second
    grouped = replace(dense, shape=replace(dense.shape, groups=2))
    assert signature_of(grouped) not in (second, signature_of(deep[0]))
