"""Finds every layer's staircases: one per distinct shape and axis, refined together step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tailor.latency.candidates import axes_of
from tailor.latency.factored import LoneLayer, lone_layer
from tailor.latency.probing import next_probes
from tailor.latency.profile import LayerStaircase
from tailor.latency.staircase import Point, Staircase, fit_staircase
from tailor.profiling.layers import LayerTimer
from tailor.profiling.reasons import reasons
from tailor.spec import Axis, ChannelGraph, Layer, LayerShape

__all__ = ["StairPlan", "coarse_grids", "find_stairs", "lone_layers", "plan_stairs", "points_within", "stairs_by_layer"]

_STEPS = 8  # one coarse grid and at most so many less one refinements
_REFINED = 0.5  # share of the seconds that refinements have together; most stairs need one or two
_MOST_POINTS = (13, 40)  # per staircase: at least the grid, at most what settles eight edges without a block
_ALL_POINTS = 1500  # over all staircases, so that networks of hundreds of distinct layers take minutes, not hours


@dataclass(frozen=True, slots=True, kw_only=True)
class StairPlan:
    """A staircase to be found: which layers share it, along which axis, and which channel counts it may probe.

    Channel counts are multiples of `unit`, from `smallest` to `width`.
    """

    layers: tuple[str, ...]
    shape: LayerShape
    axis: str
    unit: int
    smallest: int
    width: int

    def at(self, channels: int) -> LayerShape:
        """The layer with this many channels along the axis."""
        shape = self.shape
        if shape.groups > 1 and shape.groups == shape.in_channels:
            blocks = channels * shape.in_channels // shape.out_channels
            return replace(shape, in_channels=blocks, out_channels=channels, groups=blocks)
        return replace(shape, out_channels=channels) if self.axis == "out" else replace(shape, in_channels=channels)


def plan_stairs(graph: ChannelGraph) -> tuple[StairPlan, ...]:
    """One plan per distinct dense shape and axis that a group may narrow."""
    free = {group.name for group in graph.prunable}
    smallest = graph.smallest_widths
    plans: dict[tuple[LayerShape, str], StairPlan] = {}
    for layer in graph.layers:
        for name, axis in axes_of(layer):
            if not any(group in free for group, _ in axis.terms):
                continue
            plan = _plan(layer, name, axis, axis.size(smallest))
            known = plans.get((layer.shape, name))
            if known is not None:
                plan = replace(
                    known,
                    layers=(*known.layers, layer.name),
                    unit=math.gcd(known.unit, plan.unit),
                    smallest=min(known.smallest, plan.smallest),
                )
            plans[layer.shape, name] = plan
    return tuple(plans.values())


def coarse_grids(plans: Sequence[StairPlan], resolution: float, limit: int) -> list[LayerShape]:
    """The layers that are measured of every staircase before any is refined, each with at most `limit` points."""
    return [plan.at(count) for plan in plans for count in _counts(plan, (), resolution, limit)]


def find_stairs(
    plans: Sequence[StairPlan],
    timer: LayerTimer,
    *,
    resolution: float,
    seconds: float,
    ns_per_mac: float,
    limit: int = _MOST_POINTS[1],
    dense_shapes: Sequence[LayerShape] = (),
) -> tuple[LayerStaircase, ...]:
    """Measure coarse grids, then what still matters, all staircases of one step in the same sessions.

    Each staircase has at most `limit` points. Where the engine names its kernels, every step is given its reason.
    `ns_per_mac` is the guess that the number of rounds is planned with; `dense_shapes` are timed along. A staircase
    whose dense point cannot be run is left out.
    """
    wanted = [*dense_shapes, *coarse_grids(plans, resolution, limit)]
    for step in range(_STEPS):
        share = 1 - _REFINED if step == 0 else _REFINED / 3
        timer.learn(wanted, seconds=seconds * share, ns_per_mac=ns_per_mac)
        points = [_points(plan, timer) for plan in plans]
        wanted = [
            plan.at(count)
            for plan, known in zip(plans, points, strict=True)
            if known
            for count in _counts(plan, known, resolution, limit)
        ]
        if not wanted:
            break
    return tuple(
        _staircase(plan, known, timer, resolution)
        for plan in plans
        if (known := _points(plan, timer)) and known[-1].channels == plan.width
    )


def points_within(seconds: float, one: float, stairs: int) -> int:
    """Points that each of so many staircases may have when making a layer ready takes `one` second; never too few."""
    low, high = _MOST_POINTS
    affordable = min(_ALL_POINTS, int(seconds / max(one, 1e-3)))
    return min(high, max(low, affordable // max(1, stairs)))


def stairs_by_layer(staircases: Sequence[LayerStaircase]) -> dict[tuple[str, str], Staircase]:
    """The same staircases, by (layer name, axis)."""
    return {(name, found.axis): found.staircase for found in staircases for name in found.layers}


def lone_layers(
    graph: ChannelGraph, staircases: Sequence[LayerStaircase], times: Mapping[LayerShape, int]
) -> dict[str, LoneLayer]:
    """What is known of each layer alone, by name; a layer that could not be timed alone counts nothing."""
    stairs = stairs_by_layer(staircases)
    return {
        layer.name: lone_layer(
            times.get(layer.shape, 0), stairs.get((layer.name, "in")), stairs.get((layer.name, "out"))
        )
        for layer in graph.layers
    }


def _plan(layer: Layer, name: str, axis: Axis, smallest: int) -> StairPlan:
    shape = layer.shape
    width = shape.out_channels if name == "out" else shape.in_channels
    blocks = 1 if layer.depthwise else shape.groups
    unit = math.lcm(blocks, math.gcd(axis.fixed, *(per_unit for _, per_unit in axis.terms)))
    if layer.depthwise:
        unit = math.lcm(unit, shape.out_channels // shape.in_channels)
    if width % unit:
        unit = blocks
    smallest = min(width, max(unit, -(-smallest // unit) * unit))
    return StairPlan(layers=(layer.name,), shape=shape, axis=name, unit=unit, smallest=smallest, width=width)


def _staircase(plan: StairPlan, known: Sequence[Point], timer: LayerTimer, resolution: float) -> LayerStaircase:
    staircase = fit_staircase(known, resolution, unit=plan.unit)
    return LayerStaircase(
        layers=plan.layers,
        axis=plan.axis,
        shape=plan.shape,
        staircase=staircase,
        why=reasons(timer.device, staircase, plan.axis, plan.at),
    )


def _counts(plan: StairPlan, known: Sequence[Point], resolution: float, limit: int) -> tuple[int, ...]:
    """What to probe next along this axis."""
    return next_probes(known, plan.width, resolution, smallest=plan.smallest, unit=plan.unit, limit=limit)


def _points(plan: StairPlan, timer: LayerTimer) -> list[Point]:
    """Every channel count along this axis whose time is known."""
    points = []
    for count in range(plan.smallest, plan.width + 1, plan.unit):
        if (time := timer.times.get(plan.at(count))) is not None:
            points.append(Point(channels=count, ns=time.ns, noise=time.noise))
    return points
