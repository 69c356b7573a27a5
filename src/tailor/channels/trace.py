"""`trace`: from a model and an example input to its channel graph, with every group held against the law once."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from tailor.calling import Inputs, as_inputs
from tailor.channels.branches import with_branches
from tailor.channels.certify import HELD, blame, certified, certified_branches
from tailor.channels.cut import build
from tailor.channels.entrance import admitted, refuse_quantised
from tailor.channels.form import exported_form
from tailor.channels.grouping import groups_of
from tailor.channels.identity import module_name
from tailor.channels.layers import layers_of
from tailor.channels.mixing import MixingSites
from tailor.channels.network import GraphNetwork, network_of
from tailor.channels.proof import Proof
from tailor.channels.run import Run
from tailor.channels.stress import exact, stressed
from tailor.channels.watching import watched
from tailor.channels.witness import Watchman
from tailor.errors import InvalidOptionError, TraceError, UnknownNameError
from tailor.spec import ChannelGraph, ChannelGroup, KeepPlan, TensorSpec, replace_groups

__all__ = ["cut", "full_plan", "trace"]

Pin = str | type[nn.Module]

_BY_REQUEST = "pinned by request"


def trace(  # noqa: PLR0913  what is traced, and what of it may be cut
    model: nn.Module,
    example_inputs: Any,
    *,
    pin: Sequence[Pin] = (),
    min_width: int = 1,
    quantum: int = 1,
    mixing: Literal["pin", "cut"] = "pin",
    form: str = "auto",
    depth: bool = False,
    seed: int = 0,
) -> ChannelGraph:
    """Find which channels of a model live or die together, and which may not be cut and why.

    A copy of the model is run once on inputs like `example_inputs` (a tensor, a tuple, or a dict of keyword inputs);
    the model itself is left as it was; DataParallel and torch.compile are taken off, with a warning. Every group is
    then cut on that copy and compared with the masked dense network; what fails is pinned. Where it fails because the
    code holds channel counts, the model's exported graph is traced as well, and taken if more of it can be cut: then
    `graph.program` is that graph, and `cut` returns a network that executes it.

    Args:
        pin: module names (with wildcards) or module types whose output channels must stay.
        min_width: no group becomes narrower than this many units.
        quantum: cut widths are multiples of this many units.
        mixing: "cut" also cuts groups whose channels are mixed by LayerNorm or GroupNorm.
        form: "module" never takes the exported graph: the cut network is then of the model's own classes.
        depth: also find the residual branches that can be removed as a whole (their groups at width 0).
        seed: seeds the random copies and inputs of the check.

    Raises:
        TraceError: the model refused the example inputs, or cannot be traced at all; says why.
        InvalidOptionError: bounds below 1, or above the width of a group that is pinned; or an unknown `mixing` or
            `form`.
    """
    if min_width < 1 or quantum < 1:
        raise InvalidOptionError("min_width and quantum must be at least 1", value=(min_width, quantum))
    if mixing not in ("pin", "cut"):
        raise InvalidOptionError(f'mixing is "pin" or "cut", not {mixing!r}', value=mixing)
    if form not in ("auto", "module"):
        raise InvalidOptionError(f'form is "auto" or "module", not {form!r}', value=form)
    model = admitted(model)
    inputs = as_inputs(example_inputs)
    asked = _Asked(
        example=example_inputs, pinned=_requested(model, pin), min_width=min_width, quantum=quantum, mixing=mixing,
        depth=depth, seed=seed,
    )
    graph = _seen(model, inputs, asked)
    held = any((group.pinned or "").startswith(HELD) for group in graph.pinned)
    if form == "module" or graph.program is not None or not held:
        return graph
    try:
        other = _seen(exported_form(model, inputs, mixing, seed), inputs, asked)
    except TraceError as error:
        return _explained(graph, f"; nor can its exported graph be cut: {error}")
    if other.macs(other.smallest_widths) < graph.macs(graph.smallest_widths):
        return other
    return _explained(graph, "; its exported graph can be cut no further")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What of a network may be cut, for the module and its exported graph alike."""

    example: Any
    pinned: Mapping[str, str]
    min_width: int
    quantum: int
    mixing: Literal["pin", "cut"]
    depth: bool
    seed: int


def _seen(network: nn.Module, inputs: Inputs, asked: _Asked) -> ChannelGraph:
    """Watch one run of the network, then hold what was seen against the law."""
    stand, run = watched(network, inputs, asked.mixing, asked.seed)
    groups = groups_of(run.ledger)
    if not groups:
        refuse_quantised(network)
    graph = ChannelGraph(
        groups=groups,
        layers=layers_of(run.layers, groups, inputs.batch_size),
        tensors=_tensors(network),
        example=asked.example,
        program=network.channel_program if isinstance(network, GraphNetwork) else None,
    )
    graph = _with_bounds(_with_pins(graph, asked.pinned), asked.min_width, asked.quantum)
    stand = exact(stand) if run.ledger.selects else stand
    sites = MixingSites.of(run.ledger)
    graph = certified(graph, Proof(stand, graph, sites), asked.seed, thorough=run.ledger.positional)
    return certified_branches(with_branches(graph, stand.model, stand.inputs), stand) if asked.depth else graph


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
    model = network_of(admitted(model), graph)
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


def _requested(model: nn.Module, pins: Sequence[Pin]) -> dict[str, str]:
    """The modules whose channels must stay, each with the reason."""
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
        pinned |= dict.fromkeys(names, f"{_BY_REQUEST} ({text})")
    return pinned


def _with_pins(graph: ChannelGraph, pinned: Mapping[str, str]) -> ChannelGraph:
    """Pin the groups that a pinned module produces."""

    def apply(group: ChannelGroup) -> ChannelGroup:
        reason = next((pinned[m] for p in group.producers if (m := module_name(p)) in pinned), None)
        return replace(group, pinned=group.pinned or reason)

    return replace_groups(graph, [apply(group) for group in graph.groups])


def _explained(graph: ChannelGraph, why: str) -> ChannelGraph:
    """The graph in which every group that the code holds says why the exported graph does not free it."""
    return replace_groups(
        graph,
        [
            replace(group, pinned=f"{group.pinned}{why}") if (group.pinned or "").startswith(HELD) else group
            for group in graph.groups
        ],
    )


def _with_bounds(graph: ChannelGraph, min_width: int, quantum: int) -> ChannelGraph:
    """Bounds hold for what is cut; a group that was pinned below the bound is asked for two things at once.

    Raises:
        InvalidOptionError: naming such a group.
    """
    for group in graph.pinned:
        if group.width < min_width and str(group.pinned).startswith(_BY_REQUEST):
            raise InvalidOptionError(
                f"group {group.name!r} is pinned at its width of {group.width}, below the min_width of {min_width}; "
                "leave out one of the two",
                value=group.name,
            )
    return replace_groups(graph, [replace(g, min_width=min_width, quantum=quantum) for g in graph.groups])
