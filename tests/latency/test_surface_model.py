"""A prediction is its layers' prices around itself and a constant; pure, storable, and honest about extrapolation."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from planted_accounts import GRAPH, fitted_surfaces

from tailor.latency.bands import ErrorBand
from tailor.latency.surface import Rule, Surface
from tailor.latency.surface_model import SurfaceLatency, SurfaceLayer, SurfaceTerms
from tailor.serialize import decode, encode
from tailor.spec import Axis, Widths

SHAPE = GRAPH.layers[4].shape  # 3 x 3 on 8 x 8


def megabytes(inputs: int, outputs: int) -> float:
    """Weights of the one layer, and what its two calls write."""
    return 4e-6 * (9 * inputs * outputs + 2 * 64 * outputs)


def evicted(inputs: int, outputs: int) -> float:
    """What is lost of the one layer once it takes 2 ms."""
    return 10 * (0.3 * inputs * outputs + 900)


def one_layer(**changes: object) -> SurfaceLatency:
    """2 ns per input and output where the inputs are even, else 3; 0.5 ns more once its data are beyond 2 MB.

    Once it takes 2 ms, 0.3 ns more per input and output and 900 ns in any case; from 1 ms on, a part.
    """
    slow = {"evicted product 3 1": 0.3, "evicted 3 1": 900.0}
    even = Surface(coefficients={"product 1 1": 2.0, "fetched 1 1": 0.5, "fetched 2 1": 0.0, **slow})
    rule = Rule(axis="inputs", question="multiple of", number=2)
    odd = Surface(coefficients={"product 1 1": 3.0})
    layer = SurfaceLayer(
        name="conv", shape=SHAPE, inputs=Axis(fixed=0, terms=(("a", 1),)), outputs=Axis(fixed=0, terms=(("b", 1),)),
        calls=2, surface=0,
    )
    terms = SurfaceTerms(
        layers=(layer,), surfaces=(Surface(rule=rule, yes=even, no=odd),),
        scales=(10.0,), traffic_ns=0.25, footprint_ns=(0.0, 100.0, *[0.0] * 7), constant_ns=1_000.0,
        overhead_ns=0.0, dense_ns=1, bands=(ErrorBand(ns=100_000, q90=0.5), ErrorBand(ns=900_000_000, q90=0.1)),
        narrowest={"a": 4, "b": 4},
    )
    return SurfaceLatency(replace(terms, **changes))  # type: ignore[arg-type]


def test_a_price_is_counted_by_hand() -> None:
    traffic = 0.25 * 2 * 64  # per output: two calls write 8 x 8
    assert one_layer().predict(Widths({"a": 10, "b": 20})).ns == 1_000 + 10 * 2 * 200 + traffic * 20
    assert one_layer().predict(Widths({"a": 11, "b": 20})).ns == 1_000 + 10 * 3 * 220 + traffic * 20
    large = one_layer().predict(Widths({"a": 200, "b": 300}))
    size = megabytes(200, 300)  # 2.31: the step from 1 to 2 is crossed, that from 2 to 4 is begun and free
    warm = 1_000 + 10 * 2.5 * 60_000 + traffic * 300 + 100 * size
    assert large.ns == pytest.approx(warm + evicted(200, 300) * (large.ns / 1e6 - 1), abs=2)
    half = one_layer().predict(Widths({"a": 100, "b": 450}))
    size = megabytes(100, 450)  # 1.85
    fetched = (size - 1) * (10 * 0.5 * 45_000 + 100 * size)
    warm = 1_000 + 10 * 2 * 45_000 + traffic * 450 + fetched
    assert half.ns == pytest.approx(warm + evicted(100, 450) * (half.ns / 1e6 - 1), abs=2)
    assert 1.1e6 < warm < half.ns < large.ns < 2e6
    slow = one_layer().predict(Widths({"a": 400, "b": 400}))
    size = megabytes(400, 400)
    warm = 1_000 + 10 * 2.5 * 160_000 + traffic * 400 + 100 * size
    assert slow.ns == pytest.approx(warm + evicted(400, 400), abs=1)


def test_what_follows_a_layer_is_part_of_its_price() -> None:
    surface = Surface(coefficients={"product 1 1": 2.0, "followed 1 1": 7.0})
    layer = one_layer().terms.layers[0]
    plain, pooled = (
        one_layer(layers=(replace(layer, followed=followed),), surfaces=(surface,)).predict(Widths({"a": 10, "b": 20}))
        for followed in (False, True)
    )
    assert pooled.ns - plain.ns == 10 * 7 * 20


def test_elements_and_weights_count_calls_kernels_and_kinds() -> None:
    layer = one_layer().terms.layers[0]
    assert layer.elements(10) == 2 * 10 * 64
    assert replace(layer, shape=replace(SHAPE, kind="linear")).elements(10) == 20
    assert layer.megabytes(10, 20) == pytest.approx(megabytes(10, 20))
    assert replace(layer, shape=replace(SHAPE, groups=4)).megabytes(10, 20) == pytest.approx(4e-6 * 2 * 20 * 64)
    assert replace(layer, batch_size=3).megabytes(10, 20) == pytest.approx(4e-6 * (1_800 + 3 * 2 * 20 * 64))


def test_a_prediction_is_the_constant_and_its_layers_around_itself() -> None:
    latency, draw = SurfaceLatency(fitted_surfaces()), random.Random(0)
    for _ in range(30):
        widths = Widths({g.name: draw.randrange(4, g.width + 1) for g in GRAPH.groups})
        layers = [
            latency.layer_ns(index, x.inputs.size(widths), x.outputs.size(widths), widths)
            for index, x in enumerate(latency.priced_layers)
        ]
        assert latency.predict(widths).ns == pytest.approx(latency.constant_ns + sum(layers), abs=1)
        assert latency.predict(widths) == SurfaceLatency(fitted_surfaces()).predict(widths)


def test_the_network_around_a_layer_fills_the_caches() -> None:
    latency = one_layer()
    small, large = Widths({"a": 10, "b": 20}), Widths({"a": 200, "b": 300})
    fetched = 10 * 0.5 * 200 + 100 * megabytes(10, 20)
    lost = evicted(10, 20) * (latency.predict(large).ns / 1e6 - 1)
    assert latency.layer_ns(0, 10, 20, small) + fetched + lost == pytest.approx(
        latency.layer_ns(0, 10, 20, large), abs=0.1
    )
    assert latency.megabytes(large) == pytest.approx(megabytes(200, 300))


def test_the_interval_is_that_of_networks_as_slow() -> None:
    fast = one_layer().predict(Widths({"a": 10, "b": 20}))
    assert (fast.low_ns, fast.high_ns) == (round(0.5 * fast.ns), round(1.5 * fast.ns))
    slow = one_layer().predict(Widths({"a": 200, "b": 300}))
    assert (slow.low_ns, slow.high_ns) == pytest.approx((0.9 * slow.ns, 1.1 * slow.ns), abs=1)
    beyond = one_layer(bands=(ErrorBand(ns=1, q90=0.5), ErrorBand(ns=2, q90=0.25))).predict(Widths({"a": 10, "b": 20}))
    assert beyond.high_ns == round(1.25 * beyond.ns)


def test_below_the_narrowest_measured_width_it_extrapolates() -> None:
    assert one_layer().predict(Widths({"a": 4, "b": 4})).source == "fitted"
    assert one_layer().predict(Widths({"a": 4, "b": 3})).source == "extrapolated"


def test_saved_is_loaded_with_its_trees() -> None:
    terms = fitted_surfaces()
    assert any(surface.rules for surface in terms.surfaces)
    again = decode(encode(terms), SurfaceTerms)
    assert again == terms
    assert SurfaceLatency(again).predict(GRAPH.dense_widths) == SurfaceLatency(terms).predict(GRAPH.dense_widths)


def test_a_kind_of_layer_without_a_surface_costs_its_traffic_alone() -> None:
    silent = one_layer(surfaces=(Surface(),))
    assert silent.predict(Widths({"a": 10, "b": 20})).ns == 1_000 + 0.25 * 2 * 64 * 20
