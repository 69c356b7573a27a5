"""Channels near the geometric median of their layer are what the others can stand in for."""

from __future__ import annotations

import numpy as np
from torch import nn

from tailor.importance.filters import Scores, unit_filters
from tailor.spec import ChannelGroup

__all__ = ["GeometricMedianImportance"]


class GeometricMedianImportance:
    """A unit's score is the sum of its distances to the other units of its group.

    s_u = sum over v of ||F_u - F_v||_2, where F_u holds all weights that produce unit u, over all producers
    (He et al. 2019, "Filter Pruning via Geometric Median"; the smallest sums lie nearest the median).
    """

    def __call__(self, model: nn.Module, group: ChannelGroup) -> Scores:
        """Scores, shape [width].

        Raises:
            WeightsError: a weight is NaN or infinite.
        """
        filters = np.concatenate(unit_filters(model, group), axis=1)
        squares = np.square(filters).sum(axis=1)
        # ||a - b||^2 = a.a + b.b - 2 a.b; cancellation may leave a hair below zero
        distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * filters @ filters.T, 0.0))
        np.fill_diagonal(distances, 0.0)
        scores: Scores = distances.sum(axis=1)
        return scores
