"""The CIFAR ResNets of He et al. 2015, section 4.2: three stages, shortcuts without parameters (option A)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tailor.models.widths import initialise, scaled

__all__ = ["CifarResNet"]


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut that subsamples space and pads channels with zeros, half on each side."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        missing = self.conv2.out_channels - self.conv1.in_channels
        if self.stride == 1 and missing == 0:
            return x
        before = missing // 2  # a quarter of the new width where the width doubles
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, missing - before))


class CifarResNet(nn.Module):
    """ResNet-20, 32, 44, 56 or 110: three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels.

    Input [batch, 3, height, width], made for 32x32; output [batch, num_classes]. Parameter names are those of the
    widely shared checkpoints: `conv1`, `bn1`, `layerS.B.conv1` ..., `linear`.
    """

    def __init__(self, depth: int, num_classes: int = 10, width: float = 1.0) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        small, middle, large = (scaled(channels, width) for channels in (16, 32, 64))
        self.conv1 = nn.Conv2d(3, small, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(small)
        self.layer1 = _stage(small, small, blocks, 1)
        self.layer2 = _stage(small, middle, blocks, 2)
        self.layer3 = _stage(middle, large, blocks, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(large, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.linear(self.pool(out).flatten(1))
        return logits


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = PaddedBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(PaddedBlock(channels, channels, 1) for _ in range(blocks - 1)))
