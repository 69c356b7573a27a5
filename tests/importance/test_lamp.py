"""LAMP and SP-LAMP equal a slow plain loop, give every group one unit of score 1, and know no scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tailor.channels import trace
from tailor.importance import LampImportance, SpLampImportance
from tailor.importance.lamp import lamp_scores
from tailor.models import load_model


def slow(energies: list[float]) -> list[float]:
    """Each over the sum of itself and all that are larger."""
    return [e / sum(other for other in energies if other >= e) for e in energies]


def planted() -> tuple[nn.Module, object]:
    torch.manual_seed(3)
    model = load_model("tailor/resnet20-cifar10").eval()
    return model, trace(model, torch.randn(1, 3, 32, 32))


def test_scores_are_each_ones_share_of_what_is_at_least_as_large() -> None:
    energies = np.random.default_rng(0).exponential(size=40)
    np.testing.assert_allclose(lamp_scores(energies), slow(energies.tolist()), rtol=1e-12)


def test_equal_energies_are_told_apart_and_zeros_count_nothing() -> None:
    np.testing.assert_allclose(lamp_scores(np.array([2.0, 0.0, 2.0])), [0.5, 0.0, 1.0])
    np.testing.assert_array_equal(lamp_scores(np.zeros(3)), np.zeros(3))


def test_lamp_of_a_layer_is_summed_over_a_units_weights() -> None:
    model, graph = planted()
    group = next(group for group in graph.prunable if not group.residual)  # type: ignore[attr-defined]
    assert len(group.producers) == 1
    weight = dict(model.named_parameters())[group.producers[0]].detach().double()
    expected = slow(weight.square().ravel().tolist())
    sums = np.array(expected).reshape(len(weight), -1).sum(axis=1)
    np.testing.assert_allclose(LampImportance()(model, group), sums, rtol=1e-9)


def test_coupled_producers_put_their_energies_together_before_the_shares() -> None:
    model, graph = planted()
    group = next(group for group in graph.groups if group.residual)  # type: ignore[attr-defined]
    assert len(group.producers) > 1
    weights = {path: tensor.detach().double() for path, tensor in model.named_parameters()}
    outs = [slot for slot in group.slots if slot.role == "out"]
    energies = [
        sum(float(weights[slot.path][slot.indices[unit]].square().sum()) for slot in outs)
        for unit in range(group.width)
    ]
    np.testing.assert_allclose(SpLampImportance()(model, group), slow(energies), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
def test_one_unit_per_group_has_score_one_whatever_the_layers_scale(scale: float) -> None:
    model, graph = planted()
    group = graph.prunable[0]  # type: ignore[attr-defined]
    before = SpLampImportance()(model, group)
    with torch.no_grad():
        for path in group.producers:
            dict(model.named_parameters())[path].mul_(scale)
    after = SpLampImportance()(model, group)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    assert after.max() == 1.0
    assert np.count_nonzero(after == 1.0) == 1
    assert 1 <= after.sum() <= group.width
