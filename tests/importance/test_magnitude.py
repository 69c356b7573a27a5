"""L1 and L2 scores equal a slow plain loop, whatever the layer, the dimension and the channels per unit."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tailor.errors import WeightsError
from tailor.importance import L1Importance, L2Importance
from tailor.spec import ChannelGroup, Slot


class TwoProducers(nn.Module):
    """A convolution and a transposed one that feed the same six channels, and a grouped consumer."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.conv = nn.Conv2d(3, 6, 3)
        self.inner = nn.Sequential(nn.ConvTranspose2d(4, 6, 2))
        self.after = nn.Conv2d(6, 2, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)


def slot(path, dim, role, indices):
    return Slot(path=path, dim=dim, role=role, indices=np.array(indices))


def group_of_pairs():
    """Three units of two channels each, not neighbours, produced along dimension 0 and along dimension 1."""
    pairs = [[0, 3], [1, 4], [2, 5]]
    return ChannelGroup(
        name="conv",
        width=3,
        slots=(
            slot("conv.weight", 0, "out", pairs),
            slot("inner.0.weight", 1, "out", pairs),
            slot("conv.bias", 0, "per-channel", pairs),
            slot("after.weight", 1, "in", pairs),
        ),
    )


def slow_scores(model, power):
    scores = []
    for unit in range(3):
        total = 0.0
        for channel in (unit, unit + 3):
            for i in range(3):
                for y in range(3):
                    for x in range(3):
                        total += abs(float(model.conv.weight.detach()[channel, i, y, x])) ** power
            for i in range(4):
                for y in range(2):
                    for x in range(2):
                        total += abs(float(model.inner[0].weight.detach()[i, channel, y, x])) ** power
        scores.append(total)
    return scores


def test_l1_is_the_plain_sum_of_absolute_weights_over_all_producers():
    model = TwoProducers()
    assert L1Importance()(model, group_of_pairs()) == pytest.approx(slow_scores(model, 1), rel=1e-9)


def test_l2_is_the_norm_of_all_producing_weights():
    model = TwoProducers()
    expected = [math.sqrt(score) for score in slow_scores(model, 2)]
    assert L2Importance()(model, group_of_pairs()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("importance", [L1Importance(), L2Importance()])
def test_a_silenced_unit_scores_zero_and_the_model_is_untouched(importance):
    model = TwoProducers()
    with torch.no_grad():
        model.conv.weight[[1, 4]] = 0
        model.inner[0].weight[:, [1, 4]] = 0
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores = importance(model, group_of_pairs())
    assert scores.dtype == np.float64
    assert scores[1] == 0 < min(scores[0], scores[2])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_half_precision_weights_are_summed_without_overflow():
    model = TwoProducers()
    with torch.no_grad():
        model.conv.weight.fill_(40_000.0)
    scores = L1Importance()(model.half(), group_of_pairs())
    assert np.isfinite(scores).all()
    assert scores[0] > 2 * 27 * 39_000


def test_weights_that_are_no_numbers_are_refused_by_the_groups_name():
    model = TwoProducers()
    with torch.no_grad():
        model.conv.weight[2, 0, 0, 0] = math.nan
    with pytest.raises(WeightsError, match=r"group 'conv': conv\.weight, inner\.0\.weight hold NaN"):
        L1Importance()(model, group_of_pairs())
