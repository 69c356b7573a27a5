"""Fits a surface model to whole networks that were timed and accounted for, and says how wrong it is on unseen ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.optimize

from tailor.errors import MeasurementError
from tailor.latency.accounts import NetworkAccount, calibrated
from tailor.latency.bands import error_bands
from tailor.latency.basis import EVICTION_STEPS, FOOTPRINT_STEPS, footprint_share
from tailor.latency.eviction import settled_ns
from tailor.latency.factored import FitError, signature_of
from tailor.latency.fitting import fit_error
from tailor.latency.robust import FloatArray, reweighted
from tailor.latency.seen import narrowest_of, removed_of
from tailor.latency.surface import CROSSED, Samples, Surface, fit_surface, surface_ns
from tailor.latency.surface_model import SurfaceLayer, SurfaceTerms
from tailor.spec import ChannelGraph, Layer, Widths

__all__ = ["FEWEST_NETWORKS", "AccountedNetwork", "SurfaceFit", "fit_surfaces"]

BoolArray = npt.NDArray[np.bool_]

FEWEST_NETWORKS = 20
_FOLDS = 5  # every network is predicted by a fit that has seen neither it nor its fifth of the networks
_PULL = 0.03  # towards one common factor for all surfaces and towards no further terms, per root of the networks
_FREE = 0.3  # of that pull for the terms that are not surfaces
_MODEL_ERROR = 0.01  # relative error that the form itself has: measuring a network better than this gains no weight
_OUTLIER = 0.05
_ROUNDS = 4
_LARGEST_COMMON = 1.3  # an engine's account may leave out what takes a little, not what takes a third


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountedNetwork:
    """A network that was measured: its latency in ns, the relative standard error of that, and its account.

    `expected_ns` is what it takes as a model tells that has not seen it. For how long its data are evicted is read from
    that: noise in a latency must not explain itself.
    """

    widths: Widths
    ns: int
    noise: float
    account: NetworkAccount
    expected_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceFit:
    """The fitted terms, their held-out error, and the held-out prediction (ns) of each network in order."""

    terms: SurfaceTerms
    error: FitError
    predicted_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """Every network as arrays: channel counts and accounts of shape [networks, layers], the rest [networks]."""

    layers: tuple[SurfaceLayer, ...]
    inputs: FloatArray
    outputs: FloatArray
    spent: FloatArray  # NaN where a layer has no account
    elements: FloatArray
    megabytes: FloatArray
    milliseconds: FloatArray  # that there are to evict its data
    ns: FloatArray
    trust: FloatArray

    @property
    def kinds(self) -> int:
        return max(layer.surface for layer in self.layers) + 1

    def columns(self, kind: int) -> list[int]:
        return [index for index, layer in enumerate(self.layers) if layer.surface == kind]


def fit_surfaces(
    graph: ChannelGraph, networks: Sequence[AccountedNetwork], *, dense_ns: int, batch_size: int = 1, seed: int = 0
) -> SurfaceFit:
    """Surfaces per kind of layer from the accounts, then factors from the latencies; error by 5-fold hold-out.

    Layers are of one kind when they differ in channel counts alone and stand alike to residual streams (what follows
    them then is alike). The terms that are handed out use every network.

    Raises:
        MeasurementError: fewer than 20 networks.
    """
    if len(networks) < FEWEST_NETWORKS:
        raise MeasurementError(
            f"latency surfaces need {FEWEST_NETWORKS} measured networks, not {len(networks)}", value=len(networks)
        )
    ns = np.array([float(network.ns) for network in networks])
    accounts, overhead = calibrated([network.account for network in networks], ns)
    networks = [replace(each, account=account) for each, account in zip(networks, accounts, strict=True)]
    problem = _problem(graph, networks, ns, overhead, batch_size)
    fold_of = _folds(len(networks), seed)
    held_out = np.empty_like(ns)
    for fold in range(_FOLDS):
        seen = fold_of != fold
        surfaces = _surfaces(problem, seen, seed)
        solution = _factors(problem, _design(problem, surfaces, problem.milliseconds), seen)
        held_out[~seen] = _predicted(problem, surfaces, solution)[~seen]
    everything = np.ones(len(networks), dtype=bool)
    surfaces = _surfaces(problem, everything, seed)
    solution = _factors(problem, _design(problem, surfaces, problem.milliseconds), everything)
    kinds = problem.kinds
    return SurfaceFit(
        terms=SurfaceTerms(
            layers=problem.layers,
            surfaces=surfaces,
            scales=tuple(map(float, solution[:kinds])),
            traffic_ns=float(solution[kinds]),
            constant_ns=float(solution[kinds + 1]),
            footprint_ns=tuple(map(float, solution[kinds + 2 :])),
            overhead_ns=overhead,
            dense_ns=dense_ns,
            bands=error_bands(held_out, ns),
            narrowest=narrowest_of([network.widths for network in networks]),
            removed=removed_of([network.widths for network in networks]),
        ),
        error=fit_error(held_out, ns),
        predicted_ns=tuple(round(value) for value in held_out),
    )


def _problem(
    graph: ChannelGraph, networks: Sequence[AccountedNetwork], ns: FloatArray, overhead: float, batch_size: int
) -> _Problem:
    layers = _layers(graph, networks, batch_size)
    inputs = np.array([[layer.inputs.size(n.widths) for layer in layers] for n in networks], dtype=float)
    outputs = np.array([[layer.outputs.size(n.widths) for layer in layers] for n in networks], dtype=float)
    spent = np.array(
        [
            [account.without(overhead) if (account := n.account.layers.get(x.name)) else np.nan for x in layers]
            for n in networks
        ]
    )
    written = np.array([[layer.elements(1) for layer in layers]], dtype=float)
    return _Problem(
        layers=layers,
        inputs=inputs,
        outputs=outputs,
        spent=spent,
        elements=(outputs * written).sum(axis=1),
        megabytes=_megabytes(layers, networks),
        milliseconds=np.array([n.expected_ns / 1e6 for n in networks]),
        ns=ns,
        trust=np.array([_MODEL_ERROR / np.hypot(_MODEL_ERROR, network.noise) for network in networks]),
    )


def _megabytes(layers: Sequence[SurfaceLayer], networks: Sequence[AccountedNetwork]) -> FloatArray:
    """Every network's working set."""
    return np.array(
        [sum(x.megabytes(x.inputs.size(n.widths), x.outputs.size(n.widths)) for x in layers) for n in networks]
    )


def _layers(
    graph: ChannelGraph, networks: Sequence[AccountedNetwork], batch_size: int
) -> tuple[SurfaceLayer, ...]:
    streams = {group.name for group in graph.groups if group.residual}
    kinds: dict[object, int] = {}

    def kind(layer: Layer) -> int:
        writes, reads = (any(name in streams for name, _ in axis.terms) for axis in (layer.outputs, layer.inputs))
        return kinds.setdefault((signature_of(layer), writes, reads), len(kinds))

    surfaces = {layer.name: kind(layer) for layer in graph.layers}
    followed = _followed(surfaces, networks)
    return tuple(
        SurfaceLayer(
            name=layer.name,
            shape=layer.shape,
            inputs=layer.inputs,
            outputs=layer.outputs,
            calls=layer.calls,
            surface=surfaces[layer.name],
            batch_size=batch_size,
            followed=layer.name in followed,
        )
        for layer in graph.layers
    )


def _followed(surfaces: Mapping[str, int], networks: Sequence[AccountedNetwork]) -> set[str]:
    """Layers that are always accounted for with more nodes than another layer of their kind: what follows differs.

    At some widths an engine needs more nodes for the layer itself: the network with the fewest tells.
    """
    seen = {name: [n.account.layers[name].nodes for n in networks if name in n.account.layers] for name in surfaces}
    nodes = {name: min(counts) for name, counts in seen.items() if counts}
    fewest: dict[int, int] = {}
    for name, count in nodes.items():
        fewest[surfaces[name]] = min(count, fewest.get(surfaces[name], count))
    return {name for name, count in nodes.items() if count > fewest[surfaces[name]]}


def _surfaces(problem: _Problem, rows: BoolArray, seed: int) -> tuple[Surface, ...]:
    """One surface per kind of layer, from these networks; a kind that no account names costs nothing here."""
    surfaces = []
    for kind in range(problem.kinds):
        columns = problem.columns(kind)
        every = Samples(
            inputs=problem.inputs[rows][:, columns].T.ravel(),
            outputs=problem.outputs[rows][:, columns].T.ravel(),
            megabytes=np.tile(problem.megabytes[rows], len(columns)),
            milliseconds=np.tile(problem.milliseconds[rows], len(columns)),
            followed=np.repeat([float(problem.layers[column].followed) for column in columns], rows.sum()),
            ns=problem.spent[rows][:, columns].T.ravel(),
        )
        samples = every.at(every.ns > 0)  # neither without an account nor below what the engine's clock can tell
        shape = problem.layers[columns[0]].shape
        depthwise = shape.groups > 1 and shape.groups == shape.in_channels
        surfaces.append(fit_surface(samples, depthwise=depthwise, seed=seed) if len(samples) else Surface())
    return tuple(surfaces)


def _predicted(problem: _Problem, surfaces: Sequence[Surface], solution: FloatArray) -> FloatArray:
    """What every network takes in ns by surfaces and factors: its own latency, on which eviction depends, is not known.

    The design is linear in how far a network has crossed each step, and crosses them one after the other.
    """
    ends = [0.0, *(high for _, high in EVICTION_STEPS)]
    crossed = [_design(problem, surfaces, np.full_like(problem.ns, end)) @ solution for end in ends]
    warm, evicted = crossed[0], np.diff(np.stack(crossed, axis=1), axis=1)
    return np.array([settled_ns(float(own), list(map(float, steps))) for own, steps in zip(warm, evicted, strict=True)])


def _design(problem: _Problem, surfaces: Sequence[Surface], milliseconds: FloatArray) -> FloatArray:
    """Columns: each kind's surfaces summed (ns), elements written, 1, and megabytes beyond each footprint step.

    `milliseconds` say for each network how much time there is to evict its data.
    """
    kinds = [np.zeros_like(problem.ns) for _ in surfaces]
    for index, layer in enumerate(problem.layers):
        inputs, outputs = problem.inputs[:, index], problem.outputs[:, index]
        followed = np.full_like(inputs, float(layer.followed))
        ns = surface_ns(surfaces[layer.surface], inputs, outputs, problem.megabytes, milliseconds, followed)
        kinds[layer.surface] += np.where(outputs > 0, ns, 0.0)  # a removed layer costs nothing
    shares = [footprint_share(step, problem.megabytes) for step in range(len(FOOTPRINT_STEPS))]
    steps = [problem.megabytes * share * (share.max() >= CROSSED) for share in shares]
    return np.stack([*kinds, problem.elements, np.ones_like(problem.ns), *steps], axis=1)


def _factors(problem: _Problem, design: FloatArray, rows: BoolArray) -> FloatArray:
    """Factors >= 0 of the design's columns: least relative error over these networks, pulled towards one common factor.

    Networks lose weight with their noise, and as their residual grows beyond 5 %.
    """
    ns, count = problem.ns[rows], problem.kinds
    surfaces = design[rows][:, :count].sum(axis=1)
    common = min(float(np.median(ns / np.maximum(surfaces, 1.0))), _LARGEST_COMMON)
    unit = np.concatenate([np.ones(count), ns.mean() / np.maximum(design[rows][:, count:].mean(axis=0), 1e-9)])
    scaled = design[rows] * unit
    prior = np.concatenate([np.full(count, common), np.zeros(design.shape[1] - count)])
    share = np.concatenate([scaled[:, :count].mean(axis=0) / ns.mean(), np.full(design.shape[1] - count, _FREE)])
    pull = np.diag(_PULL * np.sqrt(len(ns)) * np.maximum(share, 1e-6))
    weight = plain = problem.trust[rows] / ns
    solution = prior
    for _ in range(_ROUNDS):
        stacked = np.concatenate([scaled * weight[:, None], pull])
        solution, _ = scipy.optimize.nnls(stacked, np.concatenate([ns * weight, pull @ prior]))
        weight = reweighted(plain, scaled @ solution / ns - 1, _OUTLIER)
    return np.asarray(solution * unit, dtype=np.float64)


def _folds(count: int, seed: int) -> npt.NDArray[np.int64]:
    order = np.random.default_rng(seed).permutation(count)
    folds = np.empty(count, dtype=np.int64)
    folds[order] = np.arange(count) % _FOLDS
    return folds
