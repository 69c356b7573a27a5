"""Channels with small weights matter least: L1 and L2 norms of the filters that produce them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tailor.errors import WeightsError
from tailor.spec import ChannelGroup

__all__ = ["L1Importance", "L2Importance"]

Scores = npt.NDArray[np.float64]


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
        return _summed(model, group, torch.abs)


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
        return np.sqrt(_summed(model, group, torch.square))


def _summed(model: nn.Module, group: ChannelGroup, elementwise: Callable[[Tensor], Tensor]) -> Scores:
    scores = np.zeros(group.width, dtype=np.float64)
    for slot in group.slots:
        if slot.role != "out":
            continue
        weight = cast(Tensor, reduce(getattr, slot.path.split("."), model)).detach().to("cpu", torch.float64)
        others = [dim for dim in range(weight.dim()) if dim != slot.dim]
        per_position = elementwise(weight).sum(others) if others else elementwise(weight)
        scores += per_position.numpy()[slot.indices].sum(axis=1)
    if not np.isfinite(scores).all():
        bad = [slot.path for slot in group.slots if slot.role == "out"]
        raise WeightsError(f"group {group.name!r}: {', '.join(bad)} hold NaN or infinity", value=bad)
    return scores
