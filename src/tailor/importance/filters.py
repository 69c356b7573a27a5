"""The weights that produce a group's units, one matrix per producer."""

from __future__ import annotations

from functools import reduce
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from tailor.errors import WeightsError
from tailor.spec import ChannelGroup, Slot

__all__ = ["Scores", "parameter_at", "per_unit", "unit_filters"]

Scores = npt.NDArray[np.float64]


def unit_filters(model: nn.Module, group: ChannelGroup) -> list[Scores]:
    """One matrix per producing slot, shape [width, weights per unit], in float64.

    Raises:
        WeightsError: a weight is NaN or infinite.
    """
    found = [per_unit(parameter_at(model, slot.path), slot) for slot in group.slots if slot.role == "out"]
    if not all(np.isfinite(matrix).all() for matrix in found):
        raise WeightsError(
            f"group {group.name!r}: {', '.join(group.producers)} hold NaN or infinity", value=list(group.producers)
        )
    return found


def parameter_at(model: nn.Module, path: str) -> Tensor:
    """The parameter or buffer of this name."""
    return cast(Tensor, reduce(getattr, path.split("."), model))


def per_unit(tensor: Tensor, slot: Slot) -> Scores:
    """A tensor shaped like the slot's parameter, as a matrix of shape [width, elements per unit], in float64."""
    values = tensor.detach().to("cpu").double().movedim(slot.dim, 0).numpy()
    return np.asarray(values[slot.indices].reshape(len(slot.indices), -1), dtype=np.float64)
