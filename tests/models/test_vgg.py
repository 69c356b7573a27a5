"""VGG-16 for small images: thirteen convolutions, one linear layer, five halvings."""

import torch
from torch import nn

from tailor.models.vgg import VGG


def test_thirteen_convolutions_of_the_papers_widths():
    widths = [module.out_channels for module in VGG().modules() if isinstance(module, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]


def test_parameters_and_output():
    model = VGG(num_classes=10).eval()
    # as widely published with biases in the convolutions, less these
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_728_266 - 4_224
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert model.features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 1, 1)


def test_the_width_multiplier_scales_every_convolution():
    widths = [module.out_channels for module in VGG(width=0.5).modules() if isinstance(module, nn.Conv2d)]
    assert widths == [32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256, 256]
