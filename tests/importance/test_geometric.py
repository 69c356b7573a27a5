"""Distances to the other filters equal a slow plain loop; a filter that others stand in for scores least."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tailor.channels import trace
from tailor.importance import GeometricMedianImportance


def planted() -> tuple[nn.Conv2d, object]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.Conv2d(7, 2, 1)).eval()
    return model, trace(model, torch.randn(1, 3, 8, 8)).prunable[0]  # type: ignore[return-value]


def test_scores_are_sums_of_distances() -> None:
    model, group = planted()
    filters = model[0].weight.detach().double().reshape(7, -1)  # type: ignore[index]
    expected = [sum(float((a - b).square().sum().sqrt()) for b in filters) for a in filters]
    np.testing.assert_allclose(GeometricMedianImportance()(model, group), expected, rtol=1e-9)  # type: ignore[arg-type]


def test_the_filter_at_the_median_goes_first_though_it_is_large() -> None:
    model, group = planted()
    with torch.no_grad():
        model[0].weight[4] = model[0].weight[[0, 1, 2, 3, 5, 6]].mean(dim=0)  # type: ignore[index]
        model[0].weight += 3.0  # type: ignore[index]  # a norm would not see it: all are large
    assert int(np.argmin(GeometricMedianImportance()(model, group))) == 4  # type: ignore[arg-type]
