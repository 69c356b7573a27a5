"""Removed channels held at zero while their network goes on training: what is masked can be cut without a change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from tailor.channels.cut import kept_positions
from tailor.spec import ChannelGraph, KeepPlan

__all__ = ["ChannelMask"]


class ChannelMask:
    """Zeroes, in place, what the consumers of removed channels would weigh them with.

    A consumer that weighs a channel with zero cannot tell whether it is there, whatever norm or activation lies
    between: the masked network's outputs are those of the cut one (see `proof`).
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, plan: KeepPlan) -> None:
        consumers = {(slot.path, slot.dim) for group in graph.groups for slot in group.slots if slot.role == "in"}
        self._removed: list[tuple[Tensor, int, Tensor]] = []
        for (path, dim), kept in kept_positions(graph, plan).items():
            if (path, dim) not in consumers:
                continue
            weight = cast(Tensor, reduce(getattr, path.split("."), model))
            gone = torch.ones(weight.shape[dim], dtype=torch.bool)
            gone[kept] = False
            self._removed.append((weight, dim, gone.nonzero().flatten().to(weight.device)))

    def apply(self) -> None:
        """Zero the weights again; call it after every step that may have changed them."""
        with torch.no_grad():
            for weight, dim, gone in self._removed:
                weight.index_fill_(dim, gone, 0.0)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Inside, the weights are zero; afterwards they are what they were.

        Gradients that are computed inside belong to the masked network, and reach the weights that are zero there as
        well (straight through): a channel that was removed goes on learning and may come back.
        """
        before = [weight.detach().index_select(dim, gone) for weight, dim, gone in self._removed]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for (weight, dim, gone), values in zip(self._removed, before, strict=True):
                    weight.index_copy_(dim, gone, values)
