"""A latency model as exact solvers want it: a sum of tables, each over the candidate widths of one or two groups."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tailor.spec import Axis, Widths

__all__ = ["Factor", "Factors", "PricedLayer", "PricedLayers", "factors_of", "group_price", "together_at_zero"]

Candidates = Mapping[str, tuple[int, ...]]

_CHECKED = 200  # random networks on which a decomposed layer is compared with itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One term of the sum: integer ns for the combinations of candidate widths of its one or two groups.

    A combination that is missing cannot be chosen: two groups of a branch, of which one is removed.
    """

    groups: tuple[str, ...]
    ns: Mapping[tuple[int, ...], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """The whole sum: `constant_ns` and one factor per group or pair of groups.

    `approximation` is the largest relative error, over the layers that read more than two groups, of writing their
    latency as terms of two (0 where no layer does).
    """

    constant_ns: int
    terms: tuple[Factor, ...]
    approximation: float

    def total_ns(self, widths: Mapping[str, int]) -> int:
        """The sum at these widths, which must be candidates."""
        return self.constant_ns + sum(term.ns[tuple(widths[group] for group in term.groups)] for term in self.terms)


class PricedLayer(Protocol):
    """A layer whose latency depends on the sizes of its two axes."""

    @property
    def inputs(self) -> Axis:
        """Input channels."""

    @property
    def outputs(self) -> Axis:
        """Output channels."""


class PricedLayers(Protocol):
    """What a latency model that is a sum over layers can tell."""

    @property
    def priced_layers(self) -> Sequence[PricedLayer]:
        """The layers, in the order of their positions."""

    @property
    def constant_ns(self) -> float:
        """What no layer adds."""

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        """What the layer at this position adds in ns in the neighbourhood of the network `around`."""


def group_price(model: PricedLayers, group: str, around: Widths) -> Callable[[int], float]:
    """What the layers that a group touches cost in ns at any width of it, the other groups as in `around`."""
    touched = [
        (index, layer)
        for index, layer in enumerate(model.priced_layers)
        if any(group in axis.groups for axis in (layer.inputs, layer.outputs))
    ]

    def price(width: int) -> float:
        widths = around.but({group: width})
        return sum(
            model.layer_ns(index, layer.inputs.size(widths), layer.outputs.size(widths), around)
            for index, layer in touched
        )

    return price


def factors_of(model: PricedLayers, candidates: Candidates, around: Widths) -> Factors:
    """The model's sum over candidate widths, in the neighbourhood of the network `around`.

    Where the cost of a layer depends on the whole network (weights that outgrow a cache), it is told as it is near
    `around`: solve, ask again around the answer, and stop when it no longer changes. Layers that read more than two
    groups (behind a concatenation) are written as the closest sum of pairs.
    """
    pairs: dict[tuple[str, ...], dict[tuple[int, ...], float]] = {}
    constant, worst = model.constant_ns, 0.0
    for index, layer in enumerate(model.priced_layers):
        free = _free_groups(layer, candidates)
        if len(free) <= 2:
            table = {
                widths: _layer_ns(model, index, around.but(dict(zip(free, widths, strict=True))), around)
                for widths in itertools.product(*(candidates[group] for group in free))
            }
            constant += _added(pairs, free, table)
        else:
            tables, error = _decomposed(model, index, free, candidates, around)
            worst = max(worst, error)
            for groups, table in tables.items():
                constant += _added(pairs, groups, table)
    terms = tuple(
        Factor(groups=groups, ns={widths: round(ns) for widths, ns in table.items()}) for groups, table in pairs.items()
    )
    return Factors(constant_ns=round(constant), terms=terms, approximation=worst)


def together_at_zero(factors: Factors, candidates: Candidates, branches: Sequence[Sequence[str]]) -> Factors:
    """The same sum without the combinations in which one group of a branch is at width 0 and another is not."""
    terms = {term.groups: term for term in factors.terms}
    for branch in branches:
        removable = [group for group in branch if 0 in candidates.get(group, ())]
        for pair in itertools.pairwise(sorted(removable)):
            every = dict.fromkeys(itertools.product(*(candidates[group] for group in pair)), 0)
            known = terms.get(pair, Factor(groups=pair, ns=every))
            agreeing = {widths: ns for widths, ns in known.ns.items() if bool(widths[0]) == bool(widths[1])}
            terms[pair] = Factor(groups=pair, ns=agreeing)
    return Factors(constant_ns=factors.constant_ns, terms=tuple(terms.values()), approximation=factors.approximation)


def _free_groups(layer: PricedLayer, candidates: Candidates) -> tuple[str, ...]:
    """The groups with a choice that the layer reads, in one order for all layers."""
    named = {group for axis in (layer.inputs, layer.outputs) for group in axis.groups}
    return tuple(sorted(group for group in named if len(candidates.get(group, ())) > 1))


def _layer_ns(model: PricedLayers, index: int, widths: Widths, around: Widths) -> float:
    layer = model.priced_layers[index]
    return model.layer_ns(index, layer.inputs.size(widths), layer.outputs.size(widths), around)


def _added(
    pairs: dict[tuple[str, ...], dict[tuple[int, ...], float]],
    groups: tuple[str, ...],
    table: Mapping[tuple[int, ...], float],
) -> float:
    """Add a table to those of the same groups; a table of no group is a constant, which is returned."""
    if not groups:
        return table[()]
    known = pairs.setdefault(groups, dict.fromkeys(table, 0.0))
    for widths, ns in table.items():
        known[widths] += ns
    return 0.0


def _decomposed(
    model: PricedLayers, index: int, free: tuple[str, ...], candidates: Candidates, around: Widths
) -> tuple[dict[tuple[str, ...], dict[tuple[int, ...], float]], float]:
    """A layer of many groups as (what its outputs cost) + (a price per input channel at these outputs) x channels.

    Exact where latency is linear in the input channels; the largest relative error that was seen is returned too.
    """
    layer = model.priced_layers[index]
    reading = [group for group, _ in layer.inputs.terms if group in free]
    writing = [group for group, _ in layer.outputs.terms if group in free and group not in reading]
    writer = writing[0] if writing else None
    per_unit: dict[str, int] = {}
    for group, units in layer.inputs.terms:
        per_unit[group] = per_unit.get(group, 0) + units
    tables: dict[tuple[str, ...], dict[tuple[int, ...], float]] = {}
    present = {group: candidates[group][-1] for group in reading}  # a layer that is gone shows no slope
    for width in candidates[writer] if writer else (0,):
        fixed = around.but(present | ({writer: width} if writer else {}))
        line = _line(model, index, fixed, candidates, reading, around)
        rest = line[0] + line[1] * (layer.inputs.size(fixed) - sum(per_unit[g] * fixed[g] for g in reading))
        home = layer.inputs.within if layer.inputs.within in reading else None
        if writer and home is None:
            tables.setdefault((writer,), {})[(width,)] = rest
        elif home is None:
            tables.setdefault((), {})[()] = rest
        for group in reading:
            groups = tuple(sorted((group, writer))) if writer else (group,)
            for own in candidates[group]:
                key = (own,) if not writer else (own, width) if groups[0] == group else (width, own)
                left = rest if group == home and own else 0.0  # gone with its branch
                tables.setdefault(groups, {})[key] = line[1] * per_unit[group] * own + left
    return tables, _error(model, index, tables, free, candidates, around)


def _error(
    model: PricedLayers,
    index: int,
    tables: Mapping[tuple[str, ...], Mapping[tuple[int, ...], float]],
    free: tuple[str, ...],
    candidates: Candidates,
    around: Widths,
) -> float:
    """The largest relative distance of the tables' sum from the layer's latency, over random networks."""
    draw = random.Random(0)
    worst = 0.0
    for _ in range(_CHECKED):
        widths = around.but({group: draw.choice(candidates[group]) for group in free})
        told = sum(table[tuple(widths[group] for group in groups)] for groups, table in tables.items())
        true = _layer_ns(model, index, widths, around)
        worst = max(worst, abs(told - true) / max(true, 1.0))
    return worst


def _line(
    model: PricedLayers, index: int, fixed: Widths, candidates: Candidates, reading: Sequence[str], around: Widths
) -> tuple[float, float]:
    """Intercept and slope of the layer's latency over its input channels."""
    layer = model.priced_layers[index]
    narrowest = {group: next(filter(None, candidates[group]), 0) for group in reading}  # above zero
    low = layer.inputs.size(fixed.but(narrowest))
    high = layer.inputs.size(fixed.but({group: candidates[group][-1] for group in reading}))
    sizes = np.unique(np.linspace(low, high, 33).round().astype(int))
    outputs = layer.outputs.size(fixed)
    ns = np.array([model.layer_ns(index, int(size), outputs, around) for size in sizes])
    design = np.stack([np.ones(len(sizes)), sizes.astype(float)], axis=1)
    weight = 1 / np.maximum(ns, 1.0)  # relative error; a layer may cost nothing
    (intercept, slope), *_ = np.linalg.lstsq(design * weight[:, None], ns * weight, rcond=None)
    return float(intercept), float(slope)
