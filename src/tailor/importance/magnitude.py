"""Channels with small weights matter least: L1 and L2 norms of the filters that produce them."""

from __future__ import annotations

import numpy as np
from torch import nn

from tailor.importance.filters import Scores, unit_filters
from tailor.spec import ChannelGroup

__all__ = ["L1Importance", "L2Importance"]


class L1Importance:
    """A unit's score is the sum of |w| over all weights that produce it.

    s_u = sum over producing slots k, over the positions p of unit u in k, of sum |W_k[p, ...]|
    (Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1, there for one convolution; summed over the
    producers here because a residual stream's channel leaves all of them at once).
    """

    def __call__(self, model: nn.Module, group: ChannelGroup) -> Scores:
        """Scores, shape [width].

        Raises:
            WeightsError: a weight is NaN or infinite.
        """
        return _summed([np.abs(matrix) for matrix in unit_filters(model, group)], group)


class L2Importance:
    """A unit's score is the Euclidean norm of all weights that produce it, taken as one vector.

    s_u = sqrt(sum over producing slots k, over the positions p of unit u in k, of sum W_k[p, ...]^2)
    (He et al. 2018, "Soft Filter Pruning", equation 2 with p = 2; summed over the producers as in L1Importance).
    """

    def __call__(self, model: nn.Module, group: ChannelGroup) -> Scores:
        """Scores, shape [width].

        Raises:
            WeightsError: a weight is NaN or infinite.
        """
        return np.sqrt(_summed([np.square(matrix) for matrix in unit_filters(model, group)], group))


def _summed(matrices: list[Scores], group: ChannelGroup) -> Scores:
    return sum((matrix.sum(axis=1) for matrix in matrices), start=np.zeros(group.width))
