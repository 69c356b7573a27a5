"""CIFAR ResNets have the published sizes, keys and shortcut."""

import pytest
import torch
import torch.nn.functional as F

from tailor.models.cifar_resnet import CifarResNet, PaddedBlock


@pytest.mark.parametrize(
    ("depth", "millions"),
    # He et al. 2015, table 6
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)],
)
def test_parameter_counts_are_the_papers(depth, millions):
    count = sum(parameter.numel() for parameter in CifarResNet(depth).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.5 * 10 ** -len(str(millions).split(".")[1]) * 1.2)


def test_depth_counts_the_layers_with_weights():
    for depth in (20, 56):
        model = CifarResNet(depth)
        kinds = [type(module).__name__ for module in model.modules()]
        assert kinds.count("Conv2d") + kinds.count("Linear") == depth


def test_keys_are_those_of_the_shared_checkpoints():
    keys = set(CifarResNet(20).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer3.2.conv2.weight", "layer1.0.bn2.bias", "linear.bias"} <= keys
    assert not any("shortcut" in key or "downsample" in key for key in keys)


def test_the_shortcut_takes_every_second_pixel_and_pads_a_quarter_on_each_side():
    block = PaddedBlock(16, 32, 2)
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 32 // 4, 32 // 4))
    assert torch.equal(block._shortcut(x), expected)
    assert block._shortcut(x)[:, 8:24].equal(x[:, :, ::2, ::2])


def test_a_block_of_one_shape_passes_its_input_through():
    x = torch.randn(1, 4, 5, 5)
    assert PaddedBlock(4, 4, 1)._shortcut(x) is x


@pytest.mark.parametrize("width", [0.3, 0.5, 1.0, 1.5])
def test_any_width_runs_on_any_even_size(width):
    model = CifarResNet(20, num_classes=7, width=width).eval()
    for side in (32, 64):
        assert model(torch.zeros(2, 3, side, side)).shape == (2, 7)
