"""`trace`: from a model and an example input to its channel graph, with every group held against the law once."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from tailor.calling import Inputs, as_inputs, call_model, output_tensors, quiet
from tailor.channels.certify import blame, certified
from tailor.channels.cut import build
from tailor.channels.entrance import admitted, refuse_quantised
from tailor.channels.grouping import groups_of
from tailor.channels.identity import module_name
from tailor.channels.layers import layers_of
from tailor.channels.mixing import MixingSites
from tailor.channels.proof import Proof
from tailor.channels.run import Run
from tailor.channels.stress import Stressed, exact, stressed
from tailor.channels.witness import Watchman
from tailor.errors import InvalidOptionError, TraceError, UnknownNameError
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

    A copy of the model is run once on inputs like `example_inputs` (a tensor, a tuple, or a dict of keyword inputs);
    the model itself is left as it was; DataParallel and torch.compile are taken off, with a warning. Every group is
    then cut on that copy and compared with the masked dense network; what fails is pinned.

    Args:
        pin: module names (with wildcards) or module types whose output channels must stay.
        min_width: no group becomes narrower than this many units.
        quantum: cut widths are multiples of this many units.
        mixing: "cut" also cuts groups whose channels are mixed by LayerNorm or GroupNorm.
        seed: seeds the random copies and inputs of the check.

    Raises:
        TraceError: the model refused the example inputs, or cannot be traced at all; says why.
        InvalidOptionError: bounds below 1, or an unknown `mixing`.
    """
    if min_width < 1 or quantum < 1:
        raise InvalidOptionError("min_width and quantum must be at least 1", value=(min_width, quantum))
    if mixing not in ("pin", "cut"):
        raise InvalidOptionError(f'mixing is "pin" or "cut", not {mixing!r}', value=mixing)
    model = admitted(model)
    inputs = as_inputs(example_inputs)
    runs: list[Run] = []

    def watch(twin: nn.Module) -> Run:
        runs.append(Run(twin, mixing))
        return runs[-1]

    stand = stressed(model, inputs, seed, watch)
    run = runs[-1]
    run.pin_outputs(stand.output)
    if not run.ledger.selects and not any(tensor.numel() for tensor in output_tensors(stand.output)):
        raise TraceError("the model answers with empty tensors, so no cut could be proven", value=stand.output)
    if run.unseen:
        _pin_training_only(run, stand)
    run.pin_undecided()
    groups = groups_of(run.ledger)
    if not groups:
        refuse_quantised(model)
    layers = layers_of(run.layers, groups, inputs.batch_size)
    graph = ChannelGraph(groups=groups, layers=layers, tensors=_tensors(model), example=example_inputs)
    graph = _with_bounds(_with_pins(graph, model, pin), min_width, quantum)
    stand = exact(stand) if run.ledger.selects else stand
    return certified(graph, Proof(stand, graph, MixingSites.of(run.ledger)), seed, thorough=run.ledger.positional)


def _pin_training_only(run: Run, stand: Stressed) -> None:
    """Auxiliary heads run in training alone: no proof sees them, so the channels that they read must stay.

    Only modules with children are put in training mode: norms and dropout stay as they are.
    """
    twin = stand.model
    with quiet(twin):
        for module in twin.modules():
            module.training = any(True for _ in module.children())
        try:
            with run.pinning_newcomers("read by a layer that runs in training only"):
                output = call_model(twin, stand.inputs)
        except TraceError:
            name = module_name(run.unseen)
            warnings.warn(f"{name} ran neither in evaluation nor in training: a cut may leave it misfit", stacklevel=3)
        else:
            run.pin_outputs(output)


def cut(
    model: nn.Module, graph: ChannelGraph, plan: KeepPlan, example_inputs: Any = None, *, seed: int = 0
) -> nn.Module:
    """The smaller network, proven equal to the dense one whose consumers ignore the removed channels.

    Returns a new module; `model` is left as it was. The proof runs on inputs like those of the trace, unless others
    are given.

    Raises:
        CutError: the plan does not fit the graph, or the graph not the model.
        ProofError: the law does not hold; names the groups to blame.
    """
    model = admitted(model)
    small = build(model, graph, plan)
    inputs = as_inputs(graph.example if example_inputs is None else example_inputs)
    proof = _proof(model, graph, inputs, seed)
    finding = proof.check(plan)
    if not finding.holds:
        raise blame(graph, plan, proof, finding)
    return small


def _proof(model: nn.Module, graph: ChannelGraph, inputs: Inputs, seed: int) -> Proof:
    """Where a plan is held against the law; only graphs with mixing norms need another look at every operator."""
    watching: list[Watchman | Run] = []

    def watch(twin: nn.Module) -> Watchman | Run:
        mixes = any(group.mixing is not None for group in graph.groups)
        watching.append(Run(twin, "cut") if mixes else Watchman())
        return watching[-1]

    stand, watcher = stressed(model, inputs, seed, watch), watching[-1]
    if isinstance(watcher, Run):
        stand = exact(stand) if watcher.ledger.selects else stand
        return Proof(stand, graph, MixingSites.of(watcher.ledger))
    return Proof(exact(stand) if watcher.picks else stand, graph)


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
        reason = next((pinned[m] for p in group.producers if (m := module_name(p)) in pinned), None)
        return replace(group, pinned=group.pinned or reason)

    return replace_groups(graph, [apply(group) for group in graph.groups])


def _with_bounds(graph: ChannelGraph, min_width: int, quantum: int) -> ChannelGraph:
    return replace_groups(graph, [replace(g, min_width=min_width, quantum=quantum) for g in graph.groups])
