"""Layer-adaptive magnitudes: what a weight, or a filter, is among those of its layer that are at least as large."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import nn

from tailor.importance.filters import Scores, unit_filters
from tailor.spec import ChannelGroup

__all__ = ["LampImportance", "SpLampImportance", "lamp_scores"]


class LampImportance:
    """A unit's score is the sum of the LAMP scores of the weights that produce it, each among its layer's weights.

    lamp(w) = w^2 / sum over the layer's weights v with |v| >= |w| of v^2; the largest weight has 1
    (Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning").
    """

    def __call__(self, model: nn.Module, group: ChannelGroup) -> Scores:
        """Scores, shape [width].

        Raises:
            WeightsError: a weight is NaN or infinite.
        """
        scores = np.zeros(group.width)
        for matrix in unit_filters(model, group):
            scores += lamp_scores(np.square(matrix).ravel()).reshape(matrix.shape).sum(axis=1)
        return scores


class SpLampImportance:
    """A unit's score is its filter's energy among the filters of its group with at least as much: the best has 1.

    s_u = e_u / sum over units v with e_v >= e_u of e_v, where e_u = sum of squares of all weights that produce unit u,
    over all coupled producers. Reconstructed from the abstract of Pan et al. 2023, "Layer-adaptive Structured Pruning
    Guided by Latency": every group has one unit with score exactly 1, and a group's total does not depend on its scale.
    """

    def __call__(self, model: nn.Module, group: ChannelGroup) -> Scores:
        """Scores, shape [width].

        Raises:
            WeightsError: a weight is NaN or infinite.
        """
        return lamp_scores(np.square(np.concatenate(unit_filters(model, group), axis=1)).sum(axis=1))


def lamp_scores(energy: Scores) -> Scores:
    """e / (sum of all that come at or after it in ascending order), shape as given; of equals the first counts less.

    Zeros have no share of anything: their score is 0.
    """
    order: npt.NDArray[np.int64] = np.argsort(energy, kind="stable")
    ascending = energy[order]
    rest = np.cumsum(ascending[::-1])[::-1]
    scores = np.zeros_like(energy)
    np.divide(ascending, rest, out=ascending, where=rest > 0)
    scores[order] = ascending
    return scores
