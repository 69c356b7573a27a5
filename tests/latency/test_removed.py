"""A removed branch costs nothing, in the models and in the terms that solvers get; half a branch is no choice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from planted import chain, lone_of, network_truth
from planted_accounts import fitted_surfaces

from tailor.latency.candidates import draw_networks, group_candidates
from tailor.latency.factored import FactoredLatency
from tailor.latency.factors import factors_of, together_at_zero
from tailor.latency.fitting import fit_factored
from tailor.latency.seen import beyond, narrowest_of, removed_of
from tailor.latency.surface_model import SurfaceLatency
from tailor.spec import Axis, Branch, ChannelGraph, Layer, Widths

INSIDE = ("g1", "g2")  # between the first and the last group of a chain of five: a bottleneck's


def branched() -> ChannelGraph:
    """A chain in which layers 1 to 3 are a branch with two groups of its own."""
    graph = chain((48, 32, 32, 48, 64))
    branch = Branch(name="block", groups=INSIDE, modules=(), tensors=frozenset(), addition=0, operand=0)

    def inside(layer: Layer, group: str) -> Layer:
        return replace(
            layer, inputs=replace(layer.inputs, within=group), outputs=replace(layer.outputs, within=group)
        )

    first, *body, last = graph.layers
    layers = (first, *(inside(layer, group) for layer, group in zip(body, ("g1", "g1", "g2"), strict=True)), last)
    groups = tuple(replace(group, removable=group.name in INSIDE) for group in graph.groups)
    return replace(graph, groups=groups, layers=layers, branches=(branch,))


DEEP = branched()
WITHOUT = DEEP.dense_widths.but(dict.fromkeys(INSIDE, 0))
CANDIDATES = {"g0": (16, 48), "g1": (0, 8, 32), "g2": (0, 16, 32), "g3": (16, 48), "g4": (32, 64)}


def truth(widths: Widths) -> float:
    """The planted device on what is left."""
    kept = [layer for layer in DEEP.layers if layer.at(widths).out_channels]
    return network_truth(replace(DEEP, layers=tuple(kept)), widths)


def fitted() -> FactoredLatency:
    networks = draw_networks(DEEP, {g: tuple(w for w in own if w) for g, own in CANDIDATES.items()}, 60, seed=0)
    samples = [(widths, round(truth(widths)), 0.001) for widths in (*networks, DEEP.dense_widths)]
    dense_ns = round(truth(DEEP.dense_widths))
    fit = fit_factored(DEEP.layers, lone_of(DEEP), samples, dense=DEEP.dense_widths, dense_ns=dense_ns)
    return FactoredLatency(fit.terms)


def test_layers_of_a_removed_branch_have_neither_channels_nor_macs() -> None:
    shapes = [layer.at(WITHOUT) for layer in DEEP.layers]
    assert [(s.in_channels, s.out_channels, s.macs > 0) for s in shapes] == [
        (3, 48, True), (0, 0, False), (0, 0, False), (0, 0, False), (48, 64, True)
    ]
    assert DEEP.channels(WITHOUT) == 48 + 64


def test_a_depthwise_layer_on_the_stream_goes_with_its_branch() -> None:
    layer = replace(
        DEEP.layers[1], shape=replace(DEEP.layers[1].shape, in_channels=48, out_channels=48, groups=48),
        inputs=Axis(fixed=0, terms=(("g0", 1),), within="g1"), outputs=Axis(fixed=0, terms=(("g0", 1),), within="g1"),
    )
    assert layer.at(DEEP.dense_widths).macs > 0
    assert layer.at(WITHOUT).macs == 0
    assert layer.inputs.groups == ("g0", "g1")


def test_networks_without_branches_are_learned_and_foretold() -> None:
    model = fitted()
    assert model.predict(WITHOUT).ns == pytest.approx(truth(WITHOUT), rel=0.03)
    assert model.predict(WITHOUT).source == "fitted"
    kept = replace(model.terms, removed=())
    assert FactoredLatency(kept).predict(WITHOUT).source == "extrapolated"


@pytest.mark.parametrize("kind", ["lone layers", "surfaces"])
def test_the_terms_say_what_the_model_says_with_and_without(kind: str) -> None:
    model: FactoredLatency | SurfaceLatency = fitted()
    if kind == "surfaces":
        terms = fitted_surfaces()
        calls = [replace(terms.layers[0], name=x.name, shape=x.shape, inputs=x.inputs, outputs=x.outputs)
                 for x in DEEP.layers]
        model = SurfaceLatency(
            replace(terms, layers=tuple(calls), footprint_ns=(0.0,) * len(terms.footprint_ns),
                    narrowest=dict.fromkeys(CANDIDATES, 1))
        )
    if isinstance(model, FactoredLatency):
        gone = sum(model.layer_ns(index, 0, 0, WITHOUT) for index in range(len(DEEP.layers)))
        assert gone == 0
    whole = together_at_zero(model.factors(CANDIDATES, DEEP.dense_widths), CANDIDATES, [INSIDE])
    allowed = 0
    for row in itertools.product(*CANDIDATES.values()):
        widths = Widths(zip(CANDIDATES, row, strict=True))
        if len({bool(widths[group]) for group in INSIDE}) > 1:
            assert not all(tuple(widths[g] for g in term.groups) in term.ns for term in whole.terms)
        elif kind == "lone layers":
            assert whole.total_ns(widths) == pytest.approx(model.predict(widths).ns, abs=3 * len(whole.terms))
        if len({bool(widths[group]) for group in INSIDE}) == 1:
            allowed += 1
            assert whole.total_ns(widths) > 0
    assert allowed == 8 * (1 + 4)


def test_a_joined_layer_inside_a_branch_costs_nothing_once_it_is_gone() -> None:
    """A layer behind a concatenation of two inner groups is written as pairs; without the branch its pairs are 0."""
    joined = replace(
        DEEP.layers[3], inputs=Axis(fixed=0, terms=(("g1", 1), ("g2", 1)), within="g1"),
        outputs=Axis(fixed=0, terms=(("g3", 1),), within="g1"),
    )

    class Linear:
        priced_layers = (joined,)
        constant_ns = 7.0

        def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
            return 500.0 + 3 * in_channels * out_channels if in_channels and out_channels else 0.0

    found = factors_of(Linear(), CANDIDATES, DEEP.dense_widths)
    assert found.total_ns(WITHOUT) == pytest.approx(7, abs=3)
    some = DEEP.dense_widths.but({"g1": 8, "g2": 16, "g3": 16})
    assert found.total_ns(some) == pytest.approx(7 + 500 + 3 * 24 * 16, abs=3)


def test_every_second_network_lacks_branches_where_they_can_go() -> None:
    candidates = {g: tuple(w for w in own if w) for g, own in CANDIDATES.items()}
    lacking = [bool(DEEP.gone(n)) for n in draw_networks(DEEP, candidates, 80, seed=1)]
    assert 10 <= sum(lacking) <= 50
    for network in draw_networks(DEEP, candidates, 80, seed=1):
        DEEP.check(network)
    plain = replace(DEEP, branches=())
    assert not any(0 in n.values() for n in draw_networks(plain, candidates, 80, seed=1))


def test_going_is_no_narrow_width() -> None:
    found = group_candidates(DEEP, {}, 0.01)
    assert all(0 not in widths for widths in found.values())
    networks = [Widths({"a": 8, "b": 4}), Widths({"a": 0, "b": 2})]
    assert narrowest_of(networks) == {"a": 8, "b": 2}
    assert removed_of(networks) == ("a",)
    assert not beyond({"a": 0, "b": 2}, {"a": 8, "b": 2}, ("a",))
    assert beyond({"a": 0, "b": 2}, {"a": 8, "b": 2}, ())
    assert beyond({"a": 4, "b": 2}, {"a": 8, "b": 2}, ("a",))
