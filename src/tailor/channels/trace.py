"""`trace`: from a model and an example input to its channel graph, with every group held against the law once."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from tailor.channels.cut import build
from tailor.channels.grouping import groups_of
from tailor.channels.layers import layers_of
from tailor.channels.proof import Finding, Proof
from tailor.channels.run import Inputs, Run, as_inputs, call_model, quiet
from tailor.errors import InvalidOptionError, ProofError, UnknownNameError
from tailor.spec import ChannelGraph, ChannelGroup, KeepPlan, TensorSpec, replace_groups

__all__ = ["cut", "full_plan", "trace"]

Pin = str | type[nn.Module]


def trace(
    model: nn.Module,
    example_inputs: Any,
    *,
    pin: Sequence[Pin] = (),
    min_width: int = 1,
    quantum: int = 1,
    mixing: Literal["pin", "cut"] = "pin",
    seed: int = 0,
) -> ChannelGraph:
    """Find which channels of a model live or die together, and which may not be cut and why.

    The model is run once on `example_inputs` (a tensor, a tuple, or a dict of keyword inputs) and left as it was.
    Every group is then cut on random copies and compared with the masked dense network; what fails is pinned.

    Args:
        pin: module names (with wildcards) or module types whose output channels must stay.
        min_width: no group becomes narrower than this many units.
        quantum: cut widths are multiples of this many units.
        mixing: "cut" also cuts groups whose channels are mixed by LayerNorm or GroupNorm.
        seed: seeds the random copies and inputs of the check.

    Raises:
        TraceError: the model refused the example inputs.
        InvalidOptionError: bounds below 1, or an unknown `mixing`.
    """
    if min_width < 1 or quantum < 1:
        raise InvalidOptionError("min_width and quantum must be at least 1", value=(min_width, quantum))
    if mixing not in ("pin", "cut"):
        raise InvalidOptionError(f'mixing is "pin" or "cut", not {mixing!r}', value=mixing)
    inputs = as_inputs(example_inputs)
    with quiet(model):
        run = Run(model, mixing)
        with run:
            output = call_model(model, inputs)
        run.pin_outputs(output)
    groups = groups_of(run.ledger)
    layers = layers_of(run.layers, groups, inputs.batch_size)
    graph = ChannelGraph(groups=groups, layers=layers, tensors=_tensors(model), example=example_inputs)
    graph = _with_bounds(_with_pins(graph, model, pin), min_width, quantum)
    return _certified(model, graph, inputs, seed)


def cut(
    model: nn.Module, graph: ChannelGraph, plan: KeepPlan, example_inputs: Any = None, *, seed: int = 0
) -> nn.Module:
    """The smaller network, proven equal to the dense one whose consumers ignore the removed channels.

    Returns a new module; `model` is left as it was. The proof runs on inputs like those of the trace, unless others
    are given.

    Raises:
        CutError: the plan does not fit the graph.
        ProofError: the law does not hold; names the groups to blame.
    """
    inputs = as_inputs(graph.example if example_inputs is None else example_inputs)
    graph.check_plan(plan)
    proof = Proof(model, graph, inputs, seed)
    finding = proof.check(plan)
    if not finding.holds:
        raise _blame(graph, plan, proof, finding)
    return build(model, graph, plan)


def full_plan(graph: ChannelGraph) -> KeepPlan:
    """The plan that keeps everything."""
    return KeepPlan(fingerprint=graph.fingerprint, kept={g.name: tuple(range(g.width)) for g in graph.groups})


def _tensors(model: nn.Module) -> tuple[TensorSpec, ...]:
    parameters = [TensorSpec(path=p, shape=tuple(t.shape), parameter=True) for p, t in model.named_parameters()]
    buffers = [TensorSpec(path=p, shape=tuple(t.shape), parameter=False) for p, t in model.named_buffers()]
    return (*parameters, *buffers)


def _with_pins(graph: ChannelGraph, model: nn.Module, pins: Sequence[Pin]) -> ChannelGraph:
    """Pin the groups that a pinned module produces."""
    modules = dict(model.named_modules())
    pinned: dict[str, str] = {}
    for pin in pins:
        names = [
            name
            for name, module in modules.items()
            if (fnmatch.fnmatch(name, pin) if isinstance(pin, str) else isinstance(module, pin))
        ]
        if isinstance(pin, str) and not names:
            raise UnknownNameError(f"no module is named {pin!r}, so it cannot be pinned", value=pin)
        text = pin if isinstance(pin, str) else pin.__name__
        pinned |= dict.fromkeys(names, f"pinned by request ({text})")

    def apply(group: ChannelGroup) -> ChannelGroup:
        reason = next((pinned[m] for p in group.producers if (m := p.rpartition(".")[0]) in pinned), None)
        return replace(group, pinned=group.pinned or reason)

    return replace_groups(graph, [apply(group) for group in graph.groups])


def _with_bounds(graph: ChannelGraph, min_width: int, quantum: int) -> ChannelGraph:
    return replace_groups(graph, [replace(g, min_width=min_width, quantum=quantum) for g in graph.groups])


def _certified(model: nn.Module, graph: ChannelGraph, inputs: Inputs, seed: int) -> ChannelGraph:
    """Pin every group whose cut breaks the law, found by halving the suspects."""
    names = [group.name for group in graph.prunable if group.smallest < group.width]
    if not names:
        return graph
    proof = Proof(model, graph, inputs, seed)
    generator = torch.Generator().manual_seed(seed)
    plans = _complementary_plans(graph, generator)

    def failing(suspects: Iterable[str]) -> Finding | None:
        chosen = set(suspects)
        findings = (proof.check(_only(graph, plan, chosen)) for plan in plans)
        return next((finding for finding in findings if not finding.holds), None)

    failures = _search(names, failing)
    groups = [
        replace(group, pinned=_reason(failures[group.name])) if group.name in failures else group
        for group in graph.groups
    ]
    return replace_groups(graph, groups)


def _reason(finding: Finding) -> str:
    detail = finding.failure or f"outputs differ by {finding.difference:.1g} after a cut"
    return f"the code holds a channel count or order ({detail})"


def _search(names: Sequence[str], failing: Callable[[Iterable[str]], Finding | None]) -> dict[str, Finding]:
    """The members that fail, by halving: few tests when few fail."""
    finding = failing(names)
    if finding is None:
        return {}
    if len(names) == 1:
        return {names[0]: finding}
    middle = len(names) // 2
    found = _search(names[:middle], failing) | _search(names[middle:], failing)
    if found:
        return found
    return dict.fromkeys(names, finding)  # harmless alone, wrong together


def _complementary_plans(graph: ChannelGraph, generator: torch.Generator) -> list[KeepPlan]:
    """Two plans in which every unit is kept once and removed once, as far as bounds allow."""
    first: dict[str, tuple[int, ...]] = {}
    second: dict[str, tuple[int, ...]] = {}
    for group in graph.groups:
        half = max(group.smallest, group.width // 2 // group.quantum * group.quantum)
        order = torch.randperm(group.width, generator=generator).tolist()
        first[group.name] = tuple(sorted(order[:half]))
        second[group.name] = tuple(sorted(order[-half:]))
    return [KeepPlan(fingerprint=graph.fingerprint, kept=kept) for kept in (first, second)]


def _only(graph: ChannelGraph, plan: KeepPlan, chosen: set[str]) -> KeepPlan:
    """The plan with every other group whole."""
    kept = {
        group.name: plan.kept[group.name] if group.name in chosen else tuple(range(group.width))
        for group in graph.groups
    }
    return KeepPlan(fingerprint=plan.fingerprint, kept=kept)


def _blame(graph: ChannelGraph, plan: KeepPlan, proof: Proof, finding: Finding) -> ProofError:
    """The error of a cut that breaks the law, naming the groups found by halving."""
    shortened = [g.name for g in graph.groups if len(plan.kept[g.name]) < g.width]

    def failing(suspects: Iterable[str]) -> Finding | None:
        found = proof.check(_only(graph, plan, set(suspects)))
        return None if found.holds else found

    guilty = list(_search(shortened, failing)) or shortened
    detail = finding.failure or f"outputs differ by {finding.difference:.2g} of the largest"
    names = ", ".join(repr(name) for name in guilty[:5]) + (" ..." if len(guilty) > 5 else "")
    return ProofError(f"the cut network is not the masked dense one ({detail}); pin group {names}", value=guilty)
