"""Widths scale by rounding and never vanish; convolutions start as He et al. draw them."""

import math

import pytest
from torch import nn

from tailor.models.widths import initialise, scaled


@pytest.mark.parametrize(("channels", "width", "expected"), [(64, 0.5, 32), (16, 0.3, 5), (16, 0.01, 1), (64, 1.0, 64)])
def test_scaled(channels, width, expected):
    assert scaled(channels, width) == expected


def test_convolutions_have_the_deviation_of_their_fan_out():
    conv = nn.Conv2d(32, 256, 3)
    initialise(nn.Sequential(conv))
    assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)
