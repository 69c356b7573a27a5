"""ResNet-18 and ResNet-34 for small images: a 3x3 stem without pooling, four stages, projection shortcuts."""

from __future__ import annotations

from torch import Tensor, nn

from tailor.models.widths import initialise, scaled

__all__ = ["ResNet"]


class ProjectionBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut that is a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        result: Tensor = self.relu(out + self.shortcut(x))
        return result


class ResNet(nn.Module):
    """The ImageNet ResNets of basic blocks (He et al. 2015, table 1) with the stem that is usual for 32x32 images.

    Stages of 64, 128, 256 and 512 channels; `blocks` is (2, 2, 2, 2) for ResNet-18 and (3, 4, 6, 3) for ResNet-34.
    Input [batch, 3, height, width]; output [batch, num_classes].
    """

    def __init__(self, blocks: tuple[int, int, int, int], num_classes: int = 10, width: float = 1.0) -> None:
        super().__init__()
        channels = [scaled(64 * 2**stage, width) for stage in range(4)]
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(channels[0], channels[0], blocks[0], 1)
        self.layer2 = _stage(channels[0], channels[1], blocks[1], 2)
        self.layer3 = _stage(channels[1], channels[2], blocks[2], 2)
        self.layer4 = _stage(channels[2], channels[3], blocks[3], 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels[3], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        logits: Tensor = self.linear(self.pool(out).flatten(1))
        return logits


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = ProjectionBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(ProjectionBlock(channels, channels, 1) for _ in range(blocks - 1)))
