"""The proof has been seen red: a rule broken on purpose, or a tampered map, fails with the group's name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from channel_oracle import random_plan, whole_plan, worst_difference
from channel_situations import SITUATIONS, Net, conv, image
from torch import nn

from tailor.channels import cut
from tailor.channels import trace as trace_either_form
from tailor.channels.certify import _guilty
from tailor.channels.proof import Finding, Proof
from tailor.channels.rules import RULES, Call, Follower, Rule
from tailor.errors import ProofError
from tailor.spec import ChannelGraph, ChannelGroup, replace_groups

torch.set_num_threads(1)

trace = functools.partial(trace_either_form, form="module")  # a broken rule would be sought in the export too

Break = Callable[[str, Rule], None]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    def set_rule(names: str, rule: Rule) -> None:
        for name in names.split():
            assert name in RULES
            monkeypatch.setitem(RULES, name, rule)

    return set_rule


@pytest.fixture
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace whose certificate is not asked for: what it claims is believed."""

    def take_its_word(graph: ChannelGraph, proof: Proof, seed: int, *, thorough: bool) -> ChannelGraph:
        return graph

    monkeypatch.setattr(sys.modules["tailor.channels.trace"], "certified", take_its_word)


def untied_norm(run: Follower, call: Call) -> None:
    """BatchNorm without its tie: parameters and statistics are forgotten."""
    run.follow(call.out[0], run.tracks(call.args["input"]))


NORMS = " ".join(name for name in RULES if "batch_norm" in name)


def backwards_cat(run: Follower, call: Call) -> None:
    """Concatenation in the wrong order."""
    tracks = [run.tracks(tensor)[0] for tensor in reversed(call.args["tensors"]) if tensor.numel()]
    run.follow(call.out, (torch.cat([track[:, :, :1, :1] for track in tracks], 1).expand(call.out.shape),))


def shifted_relu(run: Follower, call: Call) -> None:
    """An activation that is said to move every channel by one: no shape betrays it."""
    source = call.inputs[0]
    run.follow(call.out, tuple(track.roll(1, 1) for track in run.tracks(source)))


def equal_cat() -> tuple[nn.Module, torch.Tensor]:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.head(torch.cat([m.a(x), m.b(x)], dim=1))

    torch.manual_seed(0)
    return Net(forward, a=conv(3, 8), b=conv(3, 8), head=conv(16, 4)), image()


def test_a_norm_without_its_tie_is_caught(broken: Break) -> None:
    broken(NORMS, untied_norm)
    graph = trace(*SITUATIONS["plain_chain"].model_and_input)
    assert graph["a"].pinned == "the code holds a channel count or order: forward fails in norm after a cut"
    assert graph["b"].pinned is None


@pytest.mark.usefixtures("believed")
def test_a_cut_with_a_norm_untied_names_the_group(broken: Break) -> None:
    model, example = SITUATIONS["plain_chain"].model_and_input
    broken(NORMS, untied_norm)
    graph = trace(model, example)
    with pytest.raises(ProofError, match="pin group 'a'") as caught:
        cut(model, graph, whole_plan(graph, a=(0, 1), b=(0, 1)))
    assert caught.value.value == ["a"]
    assert "\n" not in str(caught.value)
    cut(model, graph, whole_plan(graph, b=(0, 1)))  # the innocent one may go


def test_a_concatenation_in_the_wrong_order_is_caught(broken: Break) -> None:
    broken("cat", backwards_cat)
    graph = trace(*equal_cat())
    pinned = {group.name: group.pinned or "" for group in graph.pinned}
    assert set(pinned) == {"a", "b", "head"}
    assert "outputs differ" in pinned["a"]


@pytest.mark.usefixtures("believed")
def test_wrong_numbers_without_a_wrong_shape_are_caught(broken: Break) -> None:
    model, example = SITUATIONS["plain_chain"].model_and_input
    broken("relu", shifted_relu)
    graph = trace(model, example)
    assert len(graph.prunable) == 2
    with pytest.raises(ProofError, match=r"outputs differ by .* pin group 'a'"):
        cut(model, graph, whole_plan(graph, a=(0, 1, 5)))


def tampered(graph: ChannelGraph, name: str, path: str, change: Callable[[Any], Any]) -> ChannelGraph:
    def apply(group: ChannelGroup) -> ChannelGroup:
        slots = [
            replace(slot, indices=np.ascontiguousarray(change(slot.indices))) if slot.path == path else slot
            for slot in group.slots
        ]
        return replace(group, slots=tuple(slots)) if group.name == name else group

    return replace_groups(graph, [apply(group) for group in graph.groups])


@pytest.mark.parametrize(
    ("name", "group", "path"),
    [
        ("plain_chain", "a", "norm.running_mean"),
        ("plain_chain", "a", "norm.running_var"),
        ("plain_chain", "a", "norm.bias"),
        ("plain_chain", "a", "a.bias"),
        ("plain_chain", "b", "head.weight"),
        ("residual_stream", "stem", "b.weight"),
        ("flatten_to_linear", "a", "fc.weight"),
        ("learned_scale", "a", "scale.gain"),
        ("learned_scale", "a", "act.weight"),
        ("depthwise", "a", "dw.bias"),
        ("weight_normalised", "a", "a.parametrizations.weight.original0"),
        ("transposed_convolution", "up", "up.bias"),
    ],
)
def test_one_slot_in_the_wrong_order_is_caught(name: str, group: str, path: str) -> None:
    model, example = SITUATIONS[name].model_and_input
    graph = trace(model, example)
    wrong = tampered(graph, group, path, lambda indices: np.roll(indices, 1, axis=0))
    assert wrong.fingerprint != graph.fingerprint
    plan = whole_plan(wrong, **{group: (0, 2)})
    with pytest.raises(ProofError) as caught:
        cut(model, wrong, plan)
    assert caught.value.value == [group]
    if path.endswith(("weight", "head.weight")):  # the second opinion sees it as well
        assert worst_difference(model, wrong, plan, example) > 1e-3


def test_a_forgotten_consumer_is_caught() -> None:
    model, example = SITUATIONS["residual_stream"].model_and_input
    graph = trace(model, example)

    def without(group: ChannelGroup) -> ChannelGroup:
        return replace(group, slots=tuple(slot for slot in group.slots if slot.path != "head.weight"))

    wrong = replace_groups(graph, [without(group) if group.name == "stem" else group for group in graph.groups])
    with pytest.raises(ProofError, match=r"forward fails after the cut.*'stem'"):
        cut(model, wrong, whole_plan(wrong, stem=(0, 1), a=(0,)))


def test_counts_that_the_code_holds_are_pinned_and_nothing_else() -> None:
    for name in ("constant_slices", "count_written_into_the_code"):
        model, example = SITUATIONS[name].model_and_input
        graph = trace(model, example)
        assert graph.pinned, name
        for seed in range(5):
            cut(model, graph, random_plan(graph, seed))


def test_fresh_networks_prove_something() -> None:
    """With biases of zero and statistics of (0, 1) a dropped bias would go unseen: the proof moves them first."""
    model, example = SITUATIONS["plain_chain"].model_and_input
    for module in (model.a, model.b, model.head):
        nn.init.zeros_(module.bias)
    nn.init.zeros_(model.norm.weight)  # as in residual blocks: the branch would be silent
    graph = trace(model, example)
    wrong = tampered(graph, "a", "norm.bias", lambda indices: indices[::-1])
    with pytest.raises(ProofError):
        cut(model, wrong, whole_plan(wrong, a=(0, 1, 2)))


@pytest.mark.parametrize("bad", [{3}, {0, 7}, {1, 2, 3}, set(range(8)), set()])
def test_halving_finds_exactly_the_guilty(bad: set[int]) -> None:
    asked: list[int] = []

    def check(names: Any) -> Finding:
        asked.append(len(names))
        return Finding(difference=1.0 if bad & {int(name) for name in names} else 0.0, tolerance=1e-3)

    found = _guilty([str(n) for n in range(8)], [], check)
    assert set(found) == {str(n) for n in bad}


def test_groups_that_are_wrong_only_together_lose_one() -> None:
    def check(names: Any) -> Finding:
        return Finding(difference=float({"2", "6"} <= set(names)), tolerance=1e-3)

    assert set(_guilty([str(n) for n in range(8)], [], check)) == {"6"}


def test_a_difference_that_is_not_a_number_proves_nothing() -> None:
    assert not Finding(difference=float("inf"), tolerance=1e-3).holds
    assert not Finding(difference=0.0, tolerance=1e-3, failure="forward fails").holds
    assert Finding(difference=1e-4, tolerance=1e-3).holds


def test_a_rule_that_breaks_pins_with_its_name(broken: Break) -> None:
    def stumble(run: Follower, call: Call) -> None:
        raise IndexError("no such dimension")

    broken(NORMS, stumble)
    graph = trace(*SITUATIONS["plain_chain"].model_and_input)
    assert "batch_norm" in (graph["a"].pinned or "")
    assert "could not be followed: no such dimension" in (graph["a"].pinned or "")
    assert graph["b"].pinned is None
