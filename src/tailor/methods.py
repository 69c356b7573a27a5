"""The named recipes: which importance, latency, fitness and strategy make up a published method."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from tailor.errors import CutError, InvalidOptionError, NothingToPruneError, UnknownNameError
from tailor.protocols import Strategy
from tailor.search import Evolution, EvolutionConfig, RandomSearch, RandomSearchConfig, SearchSpace
from tailor.spec import ChannelGraph, ChannelGroup, Widths

__all__ = ["METHODS", "Method", "candidate_widths", "method_named", "narrowest_widths", "strategy_of"]

CHOICES = {
    "latency": ("predicted", "measured"),
    "fitness": ("recalibrated", "short-training"),
    "residual": ("fixed", "free"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Everything a method decides, as data; change a choice with `dataclasses.replace`.

    The defaults are LACP's (Liu, Sun, Xu, Sun; BenchCouncil Transactions 1(1), 2021). Certain from the paper: the
    latency staircase shrinks the space; 10 cycles of 30 structures, 15 by mutation and 15 by crossover; the last
    convolution of each residual block keeps its width (`residual="fixed"`). The paper leaves open what follows;
    these are our choices, each with its reason (more in docs/methods.md):

    importance: "l1", the filters with the largest sums of weights are inherited. The paper searches structures and
        calls the choice of channels secondary; L1 needs no data and is deterministic.
    latency: "predicted" rejects structures before they are scored and costs microseconds; the winner is measured
        anyway. "measured" times every whole candidate, which is the reading closest to "latency as the direct metric".
    fitness: "recalibrated" is the held-out accuracy with inherited weights after fresh BatchNorm statistics, as in
        MetaPruning, whose half-mutation, half-crossover split LACP shares. "short-training" trains each candidate for
        `short_epochs` first, as in ABCPruner, which LACP compares with.
    recalibration_images, evaluation_images: how many training and held-out images one score uses. At 90 %
        accuracy, 1024 images give a standard error of 0.9 points, and all structures see the same images.
    search: latency is a hard limit and not a penalty, because a budget is what the user gives; parents and mutation
        rate are given in `EvolutionConfig`.
    """

    name: str
    summary: str
    importance: str = "l1"
    latency: str = "predicted"
    fitness: str = "recalibrated"
    residual: str = "fixed"
    short_epochs: int = 2
    recalibration_images: int = 512
    evaluation_images: int = 1024
    search: EvolutionConfig | RandomSearchConfig = field(default_factory=EvolutionConfig)

    def __post_init__(self) -> None:
        for option, known in CHOICES.items():
            value = getattr(self, option)
            if value not in known:
                raise InvalidOptionError(f"{option} must be one of {', '.join(known)}, not {value!r}", value=value)
        for option in ("short_epochs", "recalibration_images", "evaluation_images"):
            value = getattr(self, option)
            if value < 1:
                raise InvalidOptionError(f"{option} must be at least 1, not {value}", value=value)

    @property
    def options(self) -> Mapping[str, str]:
        """Every choice as text, for the run's configuration and its report."""
        own = {each.name: str(getattr(self, each.name)) for each in fields(self) if each.name != "search"}
        search = {f"search.{each.name}": str(getattr(self.search, each.name)) for each in fields(self.search)}
        return {**own, **search}


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(name="lacp", summary="evolution over the treads' edges of the latency staircase (2021)"),
        Method(
            name="random",
            summary="control: as many random structures within the budget, scored as lacp's",
            search=RandomSearchConfig(),
        ),
    )
}


def method_named(name: str) -> Method:
    """The recipe of this name.

    Raises:
        UnknownNameError: listing the names there are, the closest first when one is close.
    """
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UnknownNameError(f"no method {name!r}; {hint}known are {', '.join(METHODS)}", value=name)


def strategy_of(method: Method, space: SearchSpace, *, seed: int) -> Strategy:
    """The method's search over this space."""
    if isinstance(method.search, EvolutionConfig):
        return Evolution(space, method.search, seed=seed)
    return RandomSearch(space, method.search, seed=seed)


def candidate_widths(
    graph: ChannelGraph, profiled: Mapping[str, tuple[int, ...]], method: Method
) -> dict[str, tuple[int, ...]]:
    """Widths that each group may take in the search, ascending; the dense width is always among them.

    `profiled` holds each group's right edges of treads. Pinned groups keep their dense width, and so do residual
    streams when the method fixes them.

    Raises:
        CutError: the profile misses a free group or holds a width that its group does not allow.
        NothingToPruneError: no group has a choice; the message says why.
    """
    chosen = {group.name: _of_group(group, profiled, method) for group in graph.groups}
    if all(len(widths) == 1 for widths in chosen.values()):
        raise NothingToPruneError(_nothing_free(graph, method), value=[group.name for group in graph.groups])
    return chosen


def narrowest_widths(graph: ChannelGraph, method: Method) -> Widths:
    """The narrowest network that the method may build, whatever is gained by it."""
    return Widths({group.name: group.width if _fixed(group, method) else group.smallest for group in graph.groups})


def _of_group(group: ChannelGroup, profiled: Mapping[str, tuple[int, ...]], method: Method) -> tuple[int, ...]:
    if _fixed(group, method):
        return (group.width,)
    if group.name not in profiled:
        raise CutError(f"the profile misses group {group.name!r}; profile this model again", value=group.name)
    for width in profiled[group.name]:
        if not group.allows(width):
            message = f"the profile offers width {width} for group {group.name!r}, which does not allow it"
            raise CutError(f"{message}; profile this model again", value=width)
    return tuple(sorted({*profiled[group.name], group.width}))


def _fixed(group: ChannelGroup, method: Method) -> bool:
    return group.pinned is not None or (group.residual and method.residual == "fixed")


def _nothing_free(graph: ChannelGraph, method: Method) -> str:
    pinned = sum(group.pinned is not None for group in graph.groups)
    fixed = sum(_fixed(group, method) for group in graph.groups) - pinned
    flat = len(graph.groups) - pinned - fixed
    reasons = [
        text
        for count, text in (
            (pinned, f"{pinned} pinned (`tailor inspect` says why)"),
            (fixed, f"{fixed} residual streams that {method.name} keeps whole (free them with residual=free)"),
            (flat, f"{flat} whose latency has no step below the dense width on this target"),
        )
        if count
    ]
    return f"none of {len(graph.groups)} channel groups has a width to choose: {'; '.join(reasons)}"
