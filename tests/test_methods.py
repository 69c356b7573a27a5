"""Recipes by name, and which widths they let the search choose."""

import dataclasses

import numpy as np
import pytest

from tailor.errors import CutError, InvalidOptionError, NothingToPruneError, UnknownNameError
from tailor.importance import rank
from tailor.latency.factors import factors_of
from tailor.methods import (
    METHODS,
    Ground,
    candidate_widths,
    method_named,
    narrowest_widths,
    resized,
    solved_by,
    strategy_of,
)
from tailor.protocols import Strategy
from tailor.records import Estimate
from tailor.search import EvolutionConfig, SearchSpace, UniformConfig
from tailor.spec import Axis, Branch, ChannelGraph, ChannelGroup, Layer, LayerShape


@dataclasses.dataclass(frozen=True)
class WritingLayer:
    inputs: Axis
    outputs: Axis


class ChannelLatency:
    """A nanosecond per channel that a group's layer writes."""

    priced_layers = tuple(
        WritingLayer(Axis(fixed=1), Axis(fixed=0, terms=((group, 1),))) for group in ("inner", "stream", "fc")
    )
    constant_ns = 0.0

    def layer_ns(self, index, in_channels, out_channels, around):
        return float(out_channels)

    def predict(self, widths):
        ns = sum(widths.values())
        return Estimate(ns=ns, low_ns=ns, high_ns=ns)

    def factors(self, candidates, around):
        return factors_of(self, candidates, around)


GRAPH = ChannelGraph(
    groups=(
        ChannelGroup(name="inner", width=32, quantum=4),
        ChannelGroup(name="stream", width=64, residual=True),
        ChannelGroup(name="fc", width=10, pinned="output of the network"),
    ),
    layers=(),
    tensors=(),
)
GROUND = Ground(graph=GRAPH, latency=ChannelLatency(), values={})
PROFILED = {"inner": (8, 16, 32), "stream": (32, 64), "fc": (10,)}


def test_lacp_is_the_papers():
    lacp = method_named("lacp")
    assert lacp.search == EvolutionConfig(cycles=10, population=30, mutations=15, crossovers=15)
    assert (lacp.importance, lacp.latency, lacp.fitness, lacp.residual) == (
        "l1",
        "predicted",
        "recalibrated",
        "fixed",
    )


def test_the_control_differs_from_lacp_only_in_its_search():
    lacp, control = method_named("lacp"), method_named("random")
    assert dataclasses.replace(control, name=lacp.name, summary=lacp.summary, search=lacp.search) == lacp
    space = SearchSpace({"inner": (8, 16)}, ChannelLatency(), 90)
    planned = {strategy_of(method, space, GROUND, seed=0).planned for method in (lacp, control)}
    assert planned == {300}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_its_strategy(name):
    method = method_named(name)
    candidates = candidate_widths(GRAPH, PROFILED, method)
    ranking = rank(None, GRAPH, lambda model, group: np.arange(group.width, dtype=float))
    ground = Ground(graph=GRAPH, latency=ChannelLatency(), values=ranking.values(candidates, scale=method.scale))
    strategy: Strategy = strategy_of(method, SearchSpace(candidates, ChannelLatency(), 90), ground, seed=0)
    assert strategy.ask()
    assert strategy.ask() == strategy.ask()
    for proposal in strategy.ask():
        GRAPH.check(proposal.widths)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("auto", "no method 'auto'; known are lacp, halp, smcp"),
        ("lcap", "no method 'lcap'; did you mean 'lacp'"),
        ("", "no method ''"),
    ],
)
def test_an_unknown_method_is_refused_with_the_known_ones(name, message):
    with pytest.raises(UnknownNameError, match=message):
        method_named(name)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("latency", "guessed", "latency must be one of predicted, measured, not 'guessed'"),
        ("fitness", "loss", "fitness must be one of recalibrated, short-training, kept-importance, not 'loss'"),
        ("grid", "fine", "grid must be one of edges, tenths, all, not 'fine'"),
        ("scale", "max", "scale must be one of raw, group-mean, not 'max'"),
        ("residual", "maybe", "residual must be one of fixed, free, not 'maybe'"),
        ("evaluation_images", 0, "evaluation_images must be at least 1, not 0"),
    ],
)
def test_a_choice_without_meaning_is_refused(option, value, message):
    with pytest.raises(InvalidOptionError, match=message):
        dataclasses.replace(method_named("lacp"), **{option: value})


def test_options_name_every_choice_as_text():
    options = method_named("lacp").options
    assert options["residual"] == "fixed"
    assert options["search.mutation_rate"] == "0.1"
    assert all(isinstance(value, str) for value in options.values())


def test_residual_streams_are_fixed_or_free_and_pins_always_hold():
    lacp = method_named("lacp")
    assert candidate_widths(GRAPH, PROFILED, lacp) == {"inner": (8, 16, 32), "stream": (64,), "fc": (10,)}
    free = dataclasses.replace(lacp, residual="free")
    assert candidate_widths(GRAPH, PROFILED, free) == {"inner": (8, 16, 32), "stream": (32, 64), "fc": (10,)}


def test_the_dense_width_is_always_a_candidate():
    assert candidate_widths(GRAPH, {"inner": (16, 8)}, method_named("lacp"))["inner"] == (8, 16, 32)


@pytest.mark.parametrize(
    ("profiled", "message"),
    [
        ({}, "the profile misses group 'inner'"),
        ({"inner": (8, 15)}, "offers width 15 for group 'inner'"),
    ],
)
def test_a_profile_of_another_network_is_refused(profiled, message):
    with pytest.raises(CutError, match=message):
        candidate_widths(GRAPH, profiled, method_named("lacp"))


def test_methods_that_know_no_staircase_choose_among_tenths_or_all_widths():
    tenths = dataclasses.replace(method_named("lacp"), grid="tenths", residual="free")
    found = candidate_widths(GRAPH, {}, tenths)
    assert found["inner"] == (4, 8, 12, 16, 20, 24, 28, 32)  # 3.2, 6.4, 9.6 ... rounded down to the quantum
    assert found["stream"] == (6, 13, 19, 26, 32, 38, 45, 51, 58, 64)
    assert found["fc"] == (10,)
    everything = candidate_widths(GRAPH, {}, dataclasses.replace(tenths, grid="all"))
    assert everything["inner"] == tuple(range(4, 33, 4))
    assert everything["stream"] == tuple(range(6, 65))


@pytest.mark.parametrize("name", ["lacp", "random", "eagleeye", "abcpruner", "bayesian"])
def test_searches_with_populations_can_be_resized(name):
    config = resized(method_named(name).search, cycles=3, population=4)
    method = dataclasses.replace(method_named(name), search=config)
    space = SearchSpace(candidate_widths(GRAPH, PROFILED, method), ChannelLatency(), 90)
    planned = strategy_of(method, space, GROUND, seed=0).planned
    assert planned == {"abcpruner": 4 * 7, "bayesian": 4 + 3 * 4}.get(name, 12)
    assert resized(config, cycles=None, population=None) == config


def test_a_knapsacks_cycles_are_its_steps():
    config = resized(method_named("sp-lamp").search, cycles=10, population=3)
    assert (config.steps, config.structures) == (10, 3)


@pytest.mark.parametrize("name", ["uniform", "netadapt", "taylor"])
def test_searches_without_populations_cannot(name):
    with pytest.raises(InvalidOptionError, match="has neither cycles nor a population"):
        resized(method_named(name).search, cycles=3, population=None)


def test_a_knapsack_can_be_solved_otherwise():
    assert solved_by(method_named("halp").search, "exact").solver == "exact"
    with pytest.raises(InvalidOptionError, match="evolution solves no knapsack"):
        solved_by(method_named("lacp").search, "exact")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"importance": "l1"}, "its importance must be bn-taylor"),
        ({"search": UniformConfig()}, "takes the knapsack's steps"),
    ],
)
def test_pruning_while_training_needs_gradients_and_steps(changes, message):
    with pytest.raises(InvalidOptionError, match=message):
        dataclasses.replace(method_named("halp"), **changes)


BRANCHED = ChannelGraph(
    groups=(
        ChannelGroup(name="stem", width=64, residual=True),
        *(ChannelGroup(name=f"inner{n}", width=32, removable=True) for n in range(4)),
    ),
    layers=(
        Layer(name="stem", shape=LayerShape(kind="conv", in_channels=3, out_channels=64), inputs=Axis(fixed=3),
              outputs=Axis(fixed=0, terms=(("stem", 1),))),
    ),
    tensors=(),
    branches=tuple(
        Branch(name=f"block{n}", groups=(f"inner{2 * n}", f"inner{2 * n + 1}"), modules=(), tensors=frozenset(),
               addition=n, operand=0)
        for n in range(2)
    ),
)


def test_mdp_may_remove_branches_but_not_the_first_and_keeps_the_stem():
    found = candidate_widths(BRANCHED, {g.name: (16, g.width) for g in BRANCHED.groups}, method_named("mdp"))
    assert found == {
        "stem": (64,), "inner0": (16, 32), "inner1": (16, 32), "inner2": (0, 16, 32), "inner3": (0, 16, 32)
    }
    assert dict(narrowest_widths(BRANCHED, method_named("mdp"))) == {
        "stem": 64, "inner0": 1, "inner1": 1, "inner2": 0, "inner3": 0
    }
    channels_alone = dataclasses.replace(method_named("mdp"), depth=False)
    assert not any(0 in widths for widths in candidate_widths(
        BRANCHED, {g.name: (16, g.width) for g in BRANCHED.groups}, channels_alone).values())


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.depth])
def test_only_methods_that_know_how_remove_branches(name):
    with pytest.raises(InvalidOptionError, match=f"{name} does not remove branches; leave depth out, or take mdp"):
        dataclasses.replace(method_named(name), depth=True)
    profiled = {group.name: (16, group.width) for group in BRANCHED.groups}
    assert not any(0 in widths for widths in candidate_widths(BRANCHED, profiled, method_named(name)).values())


def test_the_exact_solver_has_structures_but_no_cycles():
    assert resized(method_named("mdp").search, cycles=None, population=3).structures == 3
    with pytest.raises(InvalidOptionError, match="exact solver has no cycles"):
        resized(method_named("mdp").search, cycles=3, population=None)


def test_no_choice_at_all_says_why():
    with pytest.raises(NothingToPruneError) as raised:
        candidate_widths(GRAPH, {"inner": (32,)}, method_named("lacp"))
    message = str(raised.value)
    assert "none of 3 channel groups" in message
    assert "1 pinned" in message
    assert "1 residual streams that lacp keeps whole" in message
    assert "1 whose latency has no step" in message
    assert raised.value.exit_code == 1


def test_global_rankings_count_a_channel_of_a_stream_once_however_many_layers_it_runs_through() -> None:
    """All groups are worth as much per unit: a stream loses no more than the groups inside its branches."""
    candidates = {"inner": tuple(range(4, 33, 4)), "stream": tuple(range(8, 65, 8)), "fc": (10,)}
    layers = tuple(
        Layer(
            name=f"conv{index}", inputs=Axis(fixed=3), outputs=Axis(fixed=0, terms=((group, 1),)),
            shape=LayerShape(kind="conv", in_channels=3, out_channels=width, kernel=(1, 1), stride=(1, 1),
                padding=(0, 0), dilation=(1, 1), spatial=(4, 4),
            ),
        )
        for index, (group, width) in enumerate([("inner", 32), *[("stream", 64)] * 5])
    )
    graph = dataclasses.replace(GRAPH, layers=layers)
    values = {group: tuple((own[-1] * width) ** 0.5 for width in own) for group, own in candidates.items()}
    latency = ChannelLatency()
    space = SearchSpace(candidates, latency, 58)
    for name in ("l1", "taylor"):
        strategy = strategy_of(METHODS[name], space, Ground(graph=graph, latency=latency, values=values), seed=0)
        widths = strategy.ask()[0].widths
        assert dict(widths) == {"inner": 16, "stream": 32, "fc": 10}, name
