"""The control: channels are kept by lot."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from torch import nn

from tailor.spec import ChannelGroup

__all__ = ["RandomImportance"]


class RandomImportance:
    """Scores are uniform in [0, 1), fixed by the seed and the group's name, whatever the order of the calls."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, model: nn.Module, group: ChannelGroup) -> npt.NDArray[np.float64]:
        """Scores, shape [width]."""
        return np.random.default_rng([self.seed, zlib.crc32(group.name.encode())]).random(group.width)
