"""Channels whose feature maps have low rank carry little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tailor.errors import DataError
from tailor.importance.filters import Scores
from tailor.spec import ChannelGraph

__all__ = ["feature_rank_scores"]


def feature_rank_scores(
    model: nn.Module, graph: ChannelGraph, batches: Iterable[tuple[Tensor, Tensor]]
) -> Mapping[str, Scores]:
    """The mean rank of each unit's feature map [height, width] over all images, summed over the group's producers.

    s_u = sum over producers of mean over images of rank(output map of unit u) (Lin et al. 2020, "HRank: Filter Pruning
    using High-Rank Feature Map", on the maps that the convolution writes; outputs without height and width
    count 1 where they are not 0). The model must be in evaluation mode; it is not changed.

    Raises:
        DataError: there are no batches.
    """
    producers = {path.rpartition(".")[0] for group in graph.prunable for path in group.producers}
    ranks: dict[str, Scores] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(partial(_observe, ranks, name)) for name in sorted(producers)
    ]
    images_seen = 0
    try:
        with torch.no_grad():
            for images, _ in batches:
                model(images)
                images_seen += len(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not images_seen:
        raise DataError("feature ranks need images", value=0)
    scores = {}
    for group in graph.prunable:
        total = np.zeros(group.width)
        for slot in group.slots:
            owner = slot.path.rpartition(".")[0]
            if slot.role == "out" and owner in ranks:
                total += ranks[owner][slot.indices].sum(axis=1) / images_seen
        scores[group.name] = total
    return scores


def _observe(ranks: dict[str, Scores], name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
    """Add the rank of every channel's map, summed over the images."""
    maps = output.detach().float()
    if maps.dim() == 2 or isinstance(module, nn.Linear):
        found = (maps != 0).float().reshape(-1, maps.shape[-1]).sum(dim=0)
    else:
        maps = maps.reshape(*maps.shape[:3], -1)  # [batch, channels, height, width (and depth)]
        found = torch.linalg.matrix_rank(maps).float().sum(dim=0)
    values = found.double().cpu().numpy()
    ranks[name] = ranks[name] + values if name in ranks else values
