"""ResNet-18 and ResNet-34 for small images have the usual sizes."""

import pytest
import torch

from tailor.models.resnet import ResNet


@pytest.mark.parametrize(("blocks", "count"), [((2, 2, 2, 2), 11_173_962), ((3, 4, 6, 3), 21_282_122)])
def test_parameter_counts_are_the_usual_ones(blocks, count):
    assert sum(parameter.numel() for parameter in ResNet(blocks).parameters()) == count


def test_three_halvings_and_a_linear_layer():
    model = ResNet((1, 1, 1, 1), num_classes=5, width=0.125).eval()
    shapes = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        stage.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert shapes == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]
