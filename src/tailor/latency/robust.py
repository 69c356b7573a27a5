"""Non-negative least squares on relative error in which outliers hardly count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.optimize

__all__ = ["clipped_error", "non_negative_fit", "reweighted"]

FloatArray = npt.NDArray[np.float64]

_RIDGE = 2e-3  # a pull towards nothing, as a share of the mean: chooses among terms that say the same
_OUTLIER = 0.08  # relative residual from which a sample loses weight
_WORST = 0.3  # a larger error than this counts as this: it is a disturbance
_SMALL = 0.1  # samples below this share of the median are weighed as if they took that long


def non_negative_fit(values: FloatArray, ns: FloatArray, *, rounds: int = 3) -> FloatArray:
    """Coefficients >= 0, shape [terms], with values [samples, terms] @ coefficients close to ns [samples].

    Iteratively reweighted: after each round, samples lose weight as their relative residual grows beyond 8 %.
    """
    unit = float(np.mean(ns))
    target = ns / unit
    scale = np.maximum(values.max(axis=0), 1e-9)
    design = values / scale
    weight = relative = 1 / np.maximum(target, _SMALL * np.median(target))
    solution = np.zeros(design.shape[1])
    for _ in range(rounds):
        solution = _solve(design, target, weight)
        weight = reweighted(relative, (design @ solution - target) * relative, _OUTLIER)
    return np.asarray(solution / scale * unit, dtype=np.float64)


def reweighted(weight: FloatArray, residual: FloatArray, outlier: float) -> FloatArray:
    """The weights of the next round: almost unchanged below `outlier`, falling with the residual above it."""
    return weight / np.sqrt(1 + (residual / outlier) ** 2)


def clipped_error(predicted: FloatArray, ns: FloatArray) -> float:
    """Summed relative error, in which no sample counts more than 30 %."""
    return float(np.sum(np.minimum(np.abs(predicted / ns - 1), _WORST)))


def _solve(design: FloatArray, target: FloatArray, weight: FloatArray) -> FloatArray:
    """By the normal equations: there are many more samples than terms."""
    rows = design * weight[:, None]
    normal = rows.T @ rows + _RIDGE**2 * len(target) * np.eye(design.shape[1])
    lower = np.linalg.cholesky(normal)
    right = np.linalg.solve(lower, rows.T @ (target * weight))
    solution, _ = scipy.optimize.nnls(lower.T, right, maxiter=60 * len(normal))
    return np.asarray(solution, dtype=np.float64)
