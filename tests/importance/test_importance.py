"""Importances are found by name."""

import pytest
import torch

from tailor.channels import trace
from tailor.errors import DataError, UnknownNameError
from tailor.importance import FROM_DATA, IMPORTANCES, Calibration, RandomImportance, importance_named


def calibration(batches):
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(288, 4))
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), *head)
    graph = trace(model.eval(), torch.randn(1, 3, 8, 8))
    return Calibration(model=model, graph=graph, batches=lambda: batches)


@pytest.mark.parametrize("name", IMPORTANCES)
def test_every_name_scores_every_unit_and_leaves_the_model_alone(name):
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    observed = calibration([(images, torch.arange(6) % 4)])
    before = {path: tensor.clone() for path, tensor in observed.model.state_dict().items()}
    importance = importance_named(name, calibration=observed)
    for group in observed.graph.prunable:
        scores = importance(observed.model, group)
        assert scores.shape == (group.width,)
        assert (scores >= 0).all()
        assert scores.max() > 0
    assert all(torch.equal(before[path], tensor) for path, tensor in observed.model.state_dict().items())
    assert all(parameter.grad is None for parameter in observed.model.parameters())


@pytest.mark.parametrize("name", FROM_DATA)
def test_what_is_observed_on_data_asks_for_it(name):
    with pytest.raises(DataError, match=f"{name} is observed on training images; give data, or choose l1"):
        importance_named(name)
    with pytest.raises(DataError, match=r"need (training )?images"):
        importance_named(name, calibration=calibration([]))


def test_the_seed_reaches_the_random_one():
    importance = importance_named("random", 7)
    assert isinstance(importance, RandomImportance)
    assert importance.seed == 7


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UnknownNameError, match="no importance 'taylor'; known are l1, l2, lamp, sp-lamp, geometric"):
        importance_named("taylor")
