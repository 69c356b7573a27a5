"""Fits the factored latency model to whole networks, and says how wrong it is on networks it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize

from tailor.errors import MeasurementError
from tailor.latency.factored import (
    Coefficients,
    FactoredTerms,
    FitError,
    LayerTerm,
    LoneLayer,
    layer_features,
    signature_of,
)
from tailor.latency.seen import narrowest_of, removed_of
from tailor.spec import Layer, LayerShape, Widths

__all__ = ["FactoredFit", "fit_error", "fit_factored", "kendall_tau"]

FloatArray = npt.NDArray[np.float64]

_FOLDS = 5  # every network is predicted by a fit that has seen neither it nor its fifth of the networks
_STRENGTHS = (0.003, 0.03, 0.3, 3.0)  # pulls towards the lone layers' own times; chosen by held-out error
_FREE_PULL = 0.01  # the constant and the shared traffic terms have no lone layer to lean on
_MODEL_ERROR = 0.01  # relative error that the form itself has: measuring a network better than this gains no weight
_KINDS = ("lone", "product", "outputs", "inputs")  # columns that each signature has for itself
_SHARED = ("traffic_out", "traffic_in")  # columns that all layers share


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoredFit:
    """The fitted terms, their held-out error, and the held-out prediction (ns) of each network in order."""

    terms: FactoredTerms
    error: FitError
    predicted_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """Features of every network, scaled so that a column's coefficient is its share of the dense latency."""

    design: FloatArray
    prior: FloatArray
    pull: FloatArray
    ns: FloatArray
    trust: FloatArray


def fit_factored(
    layers: Sequence[Layer],
    lone: Mapping[str, LoneLayer],
    networks: Sequence[tuple[Widths, int, float]],
    *,
    dense: Widths,
    dense_ns: int,
    seed: int = 0,
) -> FactoredFit:
    """Coefficients >= 0 of least relative error over whole networks, pulled towards the lone layers' times.

    Per signature: its layers' lone times (prior factor 1) and a padded product, sum of outputs and sum of inputs
    (prior 0); shared by all layers: output and input elements, and a constant. The pull is a ridge on shares of the
    dense latency; its strength is the one with least 5-fold held-out error, and that error is what is reported (the
    final coefficients then use every network). `lone` maps layer names to what they took alone; each network comes with
    its ns and the relative standard error of that, by which it counts less.

    Raises:
        MeasurementError: fewer than 2 networks cannot hold out anything.
    """
    if len(networks) < 2:
        raise MeasurementError(f"a latency model needs 2 measured networks, not {len(networks)}", value=len(networks))
    terms, alone = _layer_terms(layers, lone)
    count = max(term.signature for term in terms) + 1
    columns = np.stack([_features(terms, alone, widths, count) for widths, *_ in networks])
    scale = _dense_scale(_features(terms, alone, dense, count), columns, dense_ns)
    ns = np.array([value for _, value, _ in networks], dtype=np.float64)
    trust = np.array([_MODEL_ERROR / np.hypot(_MODEL_ERROR, noise) for *_, noise in networks])
    problem = _Problem(
        design=columns / scale, prior=_prior(scale, count), pull=_pull(scale, count), ns=ns, trust=trust
    )
    fold_of = _folds(len(networks), seed)
    held_out = [_held_out(problem, strength, fold_of) for strength in _STRENGTHS]
    best = min(range(len(_STRENGTHS)), key=lambda index: float(np.mean(trust * np.abs(held_out[index] / ns - 1))))
    solution = _solve(problem, np.ones(len(networks), dtype=bool), _STRENGTHS[best]) / scale
    error = fit_error(held_out[best], ns)
    return FactoredFit(
        terms=FactoredTerms(
            layers=terms,
            lone=alone,
            coefficients=_coefficients(solution, count),
            constant_ns=float(solution[-1]),
            dense_ns=dense_ns,
            q90=error.q90,
            narrowest=narrowest_of([widths for widths, *_ in networks]),
            removed=removed_of([widths for widths, *_ in networks]),
        ),
        error=error,
        predicted_ns=tuple(round(value) for value in held_out[best]),
    )


def fit_error(predicted: FloatArray, measured: FloatArray) -> FitError:
    """How far predictions are from what was measured, relative to the measured value."""
    errors = np.abs(predicted / measured - 1)
    return FitError(
        mean=float(np.mean(errors)),
        worst=float(np.max(errors)),
        within_5=float(np.mean(errors <= 0.05)),
        within_10=float(np.mean(errors <= 0.10)),
        q90=float(np.quantile(errors, 0.9)),
        kendall_tau=kendall_tau(predicted, measured),
        networks=len(measured),
    )


def kendall_tau(a: FloatArray, b: FloatArray) -> float:
    """Kendall's tau-a: concordant minus discordant pairs over all pairs; ties count as neither."""
    signs = np.sign(a[:, None] - a[None, :]) * np.sign(b[:, None] - b[None, :])
    pairs = len(a) * (len(a) - 1)
    return float(np.sum(signs) / pairs) if pairs else 1.0


def _layer_terms(
    layers: Sequence[Layer], lone: Mapping[str, LoneLayer]
) -> tuple[tuple[LayerTerm, ...], tuple[LoneLayer, ...]]:
    """One term per layer; layers of equal signature share coefficients, layers of equal shape share lone curves."""
    signatures: dict[LayerShape, int] = {}
    shapes: dict[LayerShape, int] = {}
    alone: list[LoneLayer] = []
    terms = []
    for layer in layers:
        if layer.shape not in shapes:
            shapes[layer.shape] = len(alone)
            alone.append(lone[layer.name])
        signature = signatures.setdefault(signature_of(layer), len(signatures))
        terms.append(
            LayerTerm(
                name=layer.name, shape=layer.shape, inputs=layer.inputs, outputs=layer.outputs, calls=layer.calls,
                lone=shapes[layer.shape], signature=signature,
            )
        )
    return tuple(terms), tuple(alone)


def _features(
    terms: Sequence[LayerTerm], alone: Sequence[LoneLayer], widths: Widths, signatures: int
) -> FloatArray:
    """One network's columns: per signature the kinds of its own, then those that all share, then 1 (the constant)."""
    row = np.zeros(signatures * len(_KINDS) + len(_SHARED) + 1)
    shared = signatures * len(_KINDS)
    for term in terms:
        features = layer_features(term, alone[term.lone], term.inputs.size(widths), term.outputs.size(widths))
        start = term.signature * len(_KINDS)
        row[start : start + len(_KINDS)] += [getattr(features, kind) for kind in _KINDS]
        row[shared : shared + len(_SHARED)] += [getattr(features, kind) for kind in _SHARED]
    row[-1] = 1.0
    return row


def _dense_scale(dense: FloatArray, columns: FloatArray, dense_ns: int) -> FloatArray:
    """Column units: one unit of a scaled column is the dense network's latency."""
    reference = np.maximum(dense, columns.max(axis=0))
    return np.where(reference > 0, reference, 1.0) / dense_ns


def _prior(scale: FloatArray, signatures: int) -> FloatArray:
    """Lone layers count once, everything else not at all, until whole networks say otherwise."""
    prior = np.zeros_like(scale)
    lone_columns = slice(0, signatures * len(_KINDS), len(_KINDS))
    prior[lone_columns] = scale[lone_columns]
    return prior


def _pull(scale: FloatArray, signatures: int) -> FloatArray:
    pull = np.ones_like(scale)
    pull[signatures * len(_KINDS) :] = _FREE_PULL
    return pull


def _folds(count: int, seed: int) -> npt.NDArray[np.int64]:
    order = np.random.default_rng(seed).permutation(count)
    folds = np.empty(count, dtype=np.int64)
    folds[order] = np.arange(count) % min(_FOLDS, count)
    return folds


def _held_out(problem: _Problem, strength: float, fold_of: npt.NDArray[np.int64]) -> FloatArray:
    """Each network as predicted by the fit that its fold was left out of, in ns."""
    predicted = np.empty_like(problem.ns)
    for fold in range(int(fold_of.max()) + 1):
        solution = _solve(problem, fold_of != fold, strength)
        predicted[fold_of == fold] = problem.design[fold_of == fold] @ solution
    return predicted


def _solve(problem: _Problem, rows: npt.NDArray[np.bool_], strength: float) -> FloatArray:
    """Non-negative least squares on relative error, with the pull as further rows; scaled coefficients."""
    pull = np.sqrt(strength * problem.pull)
    trust = problem.trust[rows]
    design = np.concatenate([problem.design[rows] * (trust / problem.ns[rows])[:, None], np.diag(pull)])
    target = np.concatenate([trust, pull * problem.prior])
    solution, _ = scipy.optimize.nnls(design, target)
    return np.asarray(solution, dtype=np.float64)


def _coefficients(solution: FloatArray, signatures: int) -> tuple[Coefficients, ...]:
    """Per signature its own kinds, and the shared ones repeated."""
    own = signatures * len(_KINDS)
    shared = dict(zip(_SHARED, map(float, solution[own : own + len(_SHARED)]), strict=True))
    rows = solution[:own].reshape(signatures, len(_KINDS))
    return tuple(Coefficients(**dict(zip(_KINDS, map(float, row), strict=True)), **shared) for row in rows)
