"""Solvers get the model itself as terms of one or two groups: exact save behind concatenations."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
from planted import lone_of, network_truth
from planted_accounts import GRAPH, accounted, concatenated, fitted_surfaces

from tailor.latency.factored import FactoredLatency
from tailor.latency.factors import Factors, factors_of
from tailor.latency.fitting import fit_factored
from tailor.latency.surface_model import SurfaceLatency
from tailor.spec import Axis, ChannelGraph, Layer, Widths

CANDIDATES = {g.name: tuple(range(16, g.width + 1, 16)) for g in GRAPH.groups}
JOINED = concatenated()
JOINED_CANDIDATES = {"stem": (8, 20, 32), "a": (8, 17, 32), "b": (16, 48), "z": (4, 9, 16), "out": (16, 40, 64)}


@dataclass(frozen=True)
class Planted:
    """A model with any latency per layer."""

    graph: ChannelGraph
    bent: float = 0.0
    nothing: bool = False
    constant_ns: float = 700.0

    @property
    def priced_layers(self) -> tuple[Layer, ...]:
        return self.graph.layers

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        if self.nothing:
            return 0.0
        return 500.0 + 3 * in_channels * out_channels + self.bent * in_channels**2 * out_channels

    def total(self, widths: Widths) -> float:
        return self.constant_ns + sum(
            self.layer_ns(i, x.inputs.size(widths), x.outputs.size(widths), widths)
            for i, x in enumerate(self.graph.layers)
        )


def drawn(candidates: dict[str, tuple[int, ...]], count: int = 40) -> list[Widths]:
    draw = random.Random(0)
    return [Widths({group: draw.choice(widths) for group, widths in candidates.items()}) for _ in range(count)]


def assert_pairs(factors: Factors, candidates: dict[str, tuple[int, ...]]) -> None:
    """Terms over one or two groups with a choice, each pair once, complete tables."""
    assert len({term.groups for term in factors.terms}) == len(factors.terms)
    for term in factors.terms:
        assert 1 <= len(term.groups) <= 2
        assert set(term.ns) == set(itertools.product(*(candidates[group] for group in term.groups)))
        assert all(isinstance(ns, int) for ns in term.ns.values())


def test_a_model_without_caches_is_its_factors_everywhere() -> None:
    networks = [(n.widths, round(network_truth(GRAPH, n.widths)), 0.002) for n in accounted(count=40)]
    dense = GRAPH.dense_widths
    terms = fit_factored(GRAPH.layers, lone_of(GRAPH), networks, dense=dense, dense_ns=1_000_000).terms
    latency = FactoredLatency(terms)
    factors = latency.factors(CANDIDATES, dense)
    assert_pairs(factors, CANDIDATES)
    assert factors.approximation == 0
    for widths in drawn(CANDIDATES):
        assert factors.total_ns(widths) == pytest.approx(latency.predict(widths).ns, abs=len(factors.terms) + 1)
    assert factors == latency.factors(CANDIDATES, drawn(CANDIDATES)[0])


def test_around_a_network_the_factors_are_the_models_own_prediction() -> None:
    surfaces = SurfaceLatency(fitted_surfaces())
    for around in drawn(CANDIDATES, 10):
        factors = surfaces.factors(CANDIDATES, around)
        assert_pairs(factors, CANDIDATES)
        assert factors.total_ns(around) == pytest.approx(surfaces.predict(around).ns, abs=len(factors.terms) + 1)


def test_as_long_as_the_caches_are_as_full_the_factors_are_the_model() -> None:
    """Below half a megabyte nothing is fetched; a dense network around tells a narrow one as if they were."""
    surfaces = SurfaceLatency(fitted_surfaces())
    small = {group: tuple(width for width in widths if width <= 32) for group, widths in CANDIDATES.items()}
    factors = surfaces.factors(small, Widths(dict.fromkeys(small, 32)))
    assert surfaces.megabytes(Widths(dict.fromkeys(small, 32))) < 0.5
    for widths in drawn(small):
        assert factors.total_ns(widths) == pytest.approx(surfaces.predict(widths).ns, abs=len(factors.terms) + 1)
    full = surfaces.factors(CANDIDATES, GRAPH.dense_widths)
    narrow = Widths(dict.fromkeys(CANDIDATES, 16))
    assert full.total_ns(narrow) > surfaces.predict(narrow).ns + 1_000


def test_groups_without_a_choice_are_constants() -> None:
    model = Planted(GRAPH)
    candidates = {**CANDIDATES, "g1": (40,), "g2": (96,)}
    del candidates["g5"]
    around = GRAPH.dense_widths.but({"g1": 40})
    factors = factors_of(model, candidates, around)
    assert_pairs(factors, candidates)
    assert {term.groups for term in factors.terms} == {("g0",), ("g3",), ("g3", "g4"), ("g4",)}
    for widths in drawn({**candidates, "g5": (128,)}):
        assert factors.total_ns(widths) == round(model.total(widths))
    fixed = factors_of(model, {}, around)
    assert (fixed.terms, fixed.constant_ns) == ((), round(model.total(around)))


def test_a_layer_behind_a_concatenation_becomes_exact_pairs_where_it_is_linear() -> None:
    model = Planted(JOINED)
    factors = factors_of(model, JOINED_CANDIDATES, JOINED.dense_widths)
    assert_pairs(factors, JOINED_CANDIDATES)
    assert {("a", "out"), ("b", "out"), ("out", "z"), ("out",)} <= {term.groups for term in factors.terms}
    assert factors.approximation < 1e-6
    for widths in drawn(JOINED_CANDIDATES):
        assert factors.total_ns(widths) == pytest.approx(model.total(widths), abs=len(factors.terms) + 1)


def test_the_approximation_of_a_bent_layer_is_told() -> None:
    model = Planted(JOINED, bent=0.01)
    factors = factors_of(model, JOINED_CANDIDATES, JOINED.dense_widths)
    mix = len(JOINED.layers) - 1
    layer = JOINED.layers[mix]
    worst = 0.0
    for widths in map(Widths, _all(JOINED_CANDIDATES)):
        off = abs(factors.total_ns(widths) - model.total(widths))
        worst = max(worst, off / model.layer_ns(mix, layer.inputs.size(widths), layer.outputs.size(widths), widths))
    assert 0.01 < factors.approximation < 0.2
    assert factors.approximation == pytest.approx(worst, rel=0.1)


def _all(candidates: dict[str, tuple[int, ...]]) -> list[dict[str, int]]:
    return [dict(zip(candidates, widths, strict=True)) for widths in itertools.product(*candidates.values())]


def test_branches_into_fixed_outputs_become_terms_of_one_group() -> None:
    model = Planted(JOINED)
    candidates = {**JOINED_CANDIDATES, "out": (64,)}
    factors = factors_of(model, candidates, JOINED.dense_widths)
    assert_pairs(factors, candidates)
    assert not any("out" in term.groups for term in factors.terms)
    for widths in drawn(candidates):
        assert factors.total_ns(widths) == pytest.approx(model.total(widths), abs=len(factors.terms) + 1)


def test_a_joined_layer_that_costs_nothing_is_no_error() -> None:
    factors = factors_of(Planted(JOINED, nothing=True), JOINED_CANDIDATES, JOINED.dense_widths)
    assert factors.total_ns(JOINED.dense_widths) == 700
    assert factors.approximation == 0


def test_a_group_on_both_axes_is_one_term() -> None:
    """A residual stream's layer reads and writes one group."""
    layer = GRAPH.layers[1]
    own = Axis(fixed=0, terms=(("g0", 1),))
    graph = ChannelGraph(
        groups=GRAPH.groups[:1],
        layers=(Layer(name="own", shape=layer.shape, inputs=own, outputs=own),),
        tensors=(),
    )
    factors = factors_of(Planted(graph), {"g0": (16, 48)}, Widths({"g0": 48}))
    assert [term.groups for term in factors.terms] == [("g0",)]
    assert factors.total_ns({"g0": 16}) == 700 + 500 + 3 * 256
