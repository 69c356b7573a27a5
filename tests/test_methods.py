"""Recipes by name, and which widths they let the search choose."""

import dataclasses

import numpy as np
import pytest

from tailor.errors import CutError, InvalidOptionError, NothingToPruneError, UnknownNameError
from tailor.methods import METHODS, candidate_widths, method_named, strategy_of
from tailor.protocols import Strategy
from tailor.records import Estimate
from tailor.search import EvolutionConfig, SearchSpace
from tailor.spec import ChannelGraph, ChannelGroup

GRAPH = ChannelGraph(
    groups=(
        ChannelGroup(name="inner", width=32, quantum=4),
        ChannelGroup(name="stream", width=64, residual=True),
        ChannelGroup(name="fc", width=10, pinned="output of the network"),
    ),
    layers=(),
    tensors=(),
)
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
    space = SearchSpace({"inner": (8, 16)}, FlatLatency(), 1)
    assert strategy_of(control, space, seed=0).planned == strategy_of(lacp, space, seed=0).planned == 300


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_its_strategy(name):
    strategy: Strategy = strategy_of(method_named(name), SearchSpace(PROFILED, FlatLatency(), 1), seed=0)
    assert strategy.ask()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("auto", "no method 'auto'; known are lacp, random"),
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
        ("fitness", "loss", "fitness must be one of recalibrated, short-training, not 'loss'"),
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


def test_no_choice_at_all_says_why():
    with pytest.raises(NothingToPruneError) as raised:
        candidate_widths(GRAPH, {"inner": (32,)}, method_named("lacp"))
    message = str(raised.value)
    assert "none of 3 channel groups" in message
    assert "1 pinned" in message
    assert "1 residual streams that lacp keeps whole" in message
    assert "1 whose latency has no step" in message
    assert raised.value.exit_code == 1


class FlatLatency:
    def predict(self, widths):
        ns = int(np.int64(1))
        return Estimate(ns=ns, low_ns=ns, high_ns=ns)
