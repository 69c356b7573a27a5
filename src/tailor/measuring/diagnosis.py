"""Tells before a search when narrower layers cannot make a network fast here: the measured reason, and what could.

A network is flat on a target when even its narrowest versions take nearly as long as the dense one. Why is read from
three measurements: what share of a call the nodes themselves take (the rest is launching them), what share of that
belongs to layers that may be narrowed, and how the latency grows when the batch is doubled (it does not where the
processor waits for work).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tailor.engines.subjects import batched
from tailor.errors import MeasurementError
from tailor.instances import compare_instances
from tailor.measuring.narrow import fastest
from tailor.measuring.networks import instances_of
from tailor.protocols import Subject
from tailor.records import Interval, NodeTime, TimingSettings
from tailor.spec import Target

if TYPE_CHECKING:
    from tailor.engines.bench import Bench

__all__ = ["Diagnosis", "diagnose", "diagnosis_of"]

FLAT = 0.9  # of dense: what narrowing can save at most is then hardly more than what is noise elsewhere
LAUNCH_BOUND = 0.8  # busy fraction below which the time between nodes is the first thing to go after
FREE_BATCH = 1.5  # a batch twice as large that takes less than this many times as long is cheap
_INSTANCES = 2
_NODE_CALLS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why narrower layers gain little on this target, as measured, and what would help.

    `narrowest` is the latency of the fastest narrow network over the dense one's; `busy` the sum of the nodes' times
    over the call's, `prunable` the share of the nodes' time in layers that may be narrowed, both None where the engine
    does not tell; `doubled` the latency at twice the batch over that at this batch, None where that did not run.
    `sentences` are for the user, the reason first.
    """

    target: Target
    dense: Interval
    narrowest: Interval
    busy: float | None
    prunable: float | None
    doubled: Interval | None
    sentences: tuple[str, ...]


def diagnose(
    device: Bench,
    dense: Subject,
    narrow: Mapping[str, Subject],
    *,
    prunable: Collection[str],
    settings: TimingSettings,
    above: float = FLAT,
) -> Diagnosis | None:
    """Time narrow networks beside the dense one and explain what is found; None where narrowing does gain.

    `narrow` are the network's narrowest versions by what they are called in errors, the narrowest first; `prunable` are
    the paths of the modules whose channels may be cut; `above` is the share of the dense latency from which on the
    fastest of them needs an explanation (the budget, say). Takes one session of four instances; the other narrow
    networks, the nodes and the batch are looked at only where that session asks for it.

    Raises:
        MeasurementError: one of the networks does not run here.
    """
    settings = replace(settings, paired=True)
    found = fastest(device, dense, dict([*narrow.items()][:1]), settings)
    if found.ratio.value >= above and len(narrow) > 1:
        found = fastest(device, dense, narrow, settings)
    if found.ratio.value < above:
        return None
    nodes = _nodes(device, dense)
    busy = sum(node.ns for node in nodes) / found.second.value if nodes else None
    return diagnosis_of(
        device.target,
        dense=found.second,
        narrowest=found.ratio,
        busy=busy,
        prunable=_share(nodes, prunable),
        doubled=_doubled(device, dense, settings),
    )


def diagnosis_of(
    target: Target,
    *,
    dense: Interval,
    narrowest: Interval,
    busy: float | None,
    prunable: float | None,
    doubled: Interval | None,
) -> Diagnosis:
    """The diagnosis that these measurements allow."""
    gain = "little" if narrowest.value >= FLAT else "no more"
    flat = (
        f"narrower layers gain {gain} on this target: even the narrowest networks that may be built take "
        f"{narrowest.value:.0%} of the dense latency (95 % interval {narrowest.low:.0%} to {narrowest.high:.0%})"
    )
    waiting = (busy is not None and busy < LAUNCH_BOUND) or (doubled is not None and doubled.high < FREE_BATCH)
    sentences = [flat, *_reasons(target, busy, prunable, doubled), *_ways_out(target, waiting, prunable, doubled)]
    return Diagnosis(
        target=target,
        dense=dense,
        narrowest=narrowest,
        busy=busy,
        prunable=prunable,
        doubled=doubled,
        sentences=tuple(sentences),
    )


def _reasons(target: Target, busy: float | None, prunable: float | None, doubled: Interval | None) -> list[str]:
    said = []
    if busy is not None and busy < LAUNCH_BOUND:
        said.append(
            f"it is launch-bound: the nodes compute for {busy:.0%} of the time, the rest goes into starting them, "
            "which takes as long for narrow layers"
        )
    if doubled is not None and doubled.high < FREE_BATCH:
        said.append(
            f"the hardware waits for work: batch {2 * target.batch_size} takes only {doubled.value:.2f} times as long "
            f"as batch {target.batch_size}"
        )
    if prunable is not None and prunable < 0.5:
        said.append(f"only {prunable:.0%} of the computing time is in layers that may be narrowed")
    return said or ["its layers' latency does not depend on their widths here: they are on flat treads"]


def _ways_out(target: Target, waiting: bool, prunable: float | None, doubled: Interval | None) -> list[str]:
    """What would help, the cheapest first."""
    ways = []
    if waiting and (doubled is None or doubled.high < FREE_BATCH):
        ways.append("a larger --batch-size, where the application allows it")
    if waiting and target.engine == "torch" and target.device.startswith("cuda"):
        ways.append("--engine cuda-graph, which starts all kernels at once")
    if waiting and target.engine == "torch":
        ways.append("another engine, which fuses nodes (see `tailor measure MODEL --engine all`)")
    if prunable is not None and prunable < 0.5:
        ways.append("freeing what is pinned (`tailor inspect` gives the reasons; --residual free)")
    ways.append("removing whole blocks instead of channels, as the method mdp does")
    return ["what would help: " + "; ".join(ways)]


def _nodes(device: Bench, dense: Subject) -> Sequence[NodeTime]:
    """The nodes' own times, none where the engine does not tell."""
    try:
        return device.node_times(dense, _NODE_CALLS)
    except MeasurementError:
        return ()


def _share(nodes: Sequence[NodeTime], prunable: Collection[str]) -> float | None:
    total = sum(node.ns for node in nodes)
    own = sum(node.ns for node in nodes if node.layer is not None and node.layer in prunable)
    return own / total if total else None


def _doubled(device: Bench, dense: Subject, settings: TimingSettings) -> Interval | None:
    """Latency at twice the batch over the latency at this one; None where the larger batch does not run."""
    twice = Subject(key="twice", module=dense.module, inputs=batched(dense.inputs, 2 * device.target.batch_size))
    seldom = replace(settings, max_rounds=max(settings.min_rounds, settings.max_rounds // 4))
    try:
        timed = instances_of(device, {"twice the batch": twice, "the batch": dense}, seldom, _INSTANCES)
    except MeasurementError:
        return None
    large, small = ([found.samples_ns for found in group] for group in timed.values())
    return compare_instances([(large, small)], statistic=settings.statistic).ratio
