"""Ranks of feature maps equal a slow loop over images and channels; a constant map has rank 1, an empty one 0."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tailor.channels import trace
from tailor.importance.feature_rank import feature_rank_scores


def test_scores_are_mean_ranks_over_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, bias=True), nn.ReLU(), nn.Conv2d(5, 2, 1)).eval()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, 2.0  # constant: rank 1
        model[0].weight[3], model[0].bias[3] = 0.0, 0.0  # empty: rank 0
        model[0].weight[4] = model[0].weight[4].mean()
    graph = trace(model, torch.randn(1, 3, 9, 9))
    batches = [(torch.randn(4, 3, 9, 9), torch.zeros(4)), (torch.randn(2, 3, 9, 9), torch.zeros(2))]
    scores = feature_rank_scores(model, graph, batches)[graph.prunable[0].name]
    maps = torch.cat([model[0](images) for images, _ in batches]).detach().numpy()
    expected = [np.mean([np.linalg.matrix_rank(maps[image, unit]) for image in range(6)]) for unit in range(5)]
    np.testing.assert_allclose(scores, expected)
    assert (scores[1], scores[3]) == (1.0, 0.0)
    assert all(not module._forward_hooks for module in model.modules())


def test_outputs_without_height_count_where_they_are_not_zero() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    with torch.no_grad():
        model[1].weight[2], model[1].bias[2] = 0.0, 0.0
    graph = trace(model, torch.randn(1, 3, 2, 2))
    scores = feature_rank_scores(model, graph, [(torch.randn(5, 3, 2, 2), torch.zeros(5))])[graph.prunable[0].name]
    assert scores[2] == 0.0
    np.testing.assert_array_equal(np.delete(scores, 2), np.ones(5))
