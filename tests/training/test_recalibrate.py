"""Recalibration gives the plain averages of the batch statistics, and changes nothing else."""

import pytest
import torch
from torch import nn

from tailor.training import recalibrate


def state_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_statistics_are_the_averages_over_batches(corners):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    batches = list(corners.batches("train", 90))
    recalibrate(model, batches)
    means = torch.stack([images.mean((0, 2, 3)) for images, _ in batches]).mean(0)
    variances = torch.stack([images.transpose(0, 1).flatten(1).var(1) for images, _ in batches]).mean(0)
    assert torch.allclose(model[0].running_mean, means, atol=1e-5)
    assert torch.allclose(model[0].running_var, variances, atol=1e-5)


def test_wrong_statistics_are_forgotten(corners, make_net):
    model, spoiled = make_net(), make_net()
    spoiled.bn1.running_mean.fill_(100.0)
    spoiled.bn2.running_var.fill_(1e-3)
    spoiled.bn1.num_batches_tracked.fill_(50)  # as after a training: an average that goes on would keep the old values
    for each in (model, spoiled):
        recalibrate(each, corners.batches("train"))
    assert all(torch.equal(value, spoiled.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_modes_momenta_gradients_and_weights_stay(corners, make_net, training):
    model = make_net().train(training)
    model.bn2.eval()
    model.bn1.momentum = 0.3
    before = state_of(model)
    recalibrate(model, corners.batches("train", limit=100))
    assert (model.training, model.bn1.training, model.bn2.training) == (training, training, False)
    assert (model.bn1.momentum, model.bn2.momentum) == (0.3, 0.1)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert all(key.split(".")[1] in {"running_mean", "running_var", "num_batches_tracked"} for key in changed)
    assert {"bn1.running_mean", "bn2.running_var"} <= changed
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_dropout_stays_off(corners):
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3)).train()
    recalibrate(model, corners.batches("train"))
    plain = nn.Sequential(nn.BatchNorm2d(3)).train()
    recalibrate(plain, corners.batches("train"))
    assert torch.equal(model[1].running_var, plain[0].running_var)


def test_a_failing_batch_leaves_modes_and_momenta(corners, make_net):
    model = make_net().eval()
    with pytest.raises(RuntimeError):
        recalibrate(model, [(torch.zeros(1, 5, 8, 8), torch.zeros(1))])
    assert not model.bn1.training
    assert model.bn1.momentum == 0.1


def test_a_model_without_statistics_reads_no_images():
    batches = iter([(torch.zeros(1, 3, 8, 8), torch.zeros(1))])
    recalibrate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), batches)
    assert len(list(batches)) == 1
