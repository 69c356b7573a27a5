"""Two networks as users write them, with channel counts in their Python code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class HeBlock(nn.Module):
    """A residual block whose shortcut pads a quarter of the planes on either side (He et al. 2016, option A)."""

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.planes, self.stride = planes, stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4), "constant", 0)
        return F.relu(x + y)


class HeResNet(nn.Module):
    """ResNet-20 for CIFAR as it is mostly written; `width` 16 and `depth` 3 are the paper's."""

    input_shape = (3, 32, 32)

    def __init__(self, width: int = 16, depth: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        blocks, inner = [], width
        for planes in (width, 2 * width, 4 * width):
            for _ in range(depth):
                blocks.append(HeBlock(inner, planes, 1 if inner == planes else 2))
                inner = planes
        self.layers, self.linear = nn.Sequential(*blocks), nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        x = F.avg_pool2d(x, x.size()[3])
        return self.linear(F.dropout(x.view(x.size(0), -1), 0.2, self.training))


class ShuffleNet(nn.Module):
    """A small ShuffleNet v2 with its counts written out: halves by slices, the shuffle by a view of fixed sizes."""

    input_shape = (3, 32, 32)

    def __init__(self, half: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.half = half
        self.stem = nn.Sequential(nn.Conv2d(3, 2 * half, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * half), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(half, 3 * half, 1, bias=False), nn.BatchNorm2d(3 * half), nn.ReLU(),
            nn.Conv2d(3 * half, 3 * half, 3, 1, 1, groups=3 * half, bias=False), nn.BatchNorm2d(3 * half),
            nn.Conv2d(3 * half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Sequential(nn.Conv2d(2 * half, 4 * half, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(4 * half, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x[:, : self.half], self.branch(x[:, self.half :])], dim=1)
        b, _, h, w = x.shape
        x = x.view(b, 2, self.half, h, w).transpose(1, 2).contiguous().view(b, 2 * self.half, h, w)
        return self.fc(self.last(x).mean([2, 3]))


class PaddedShuffleNet(nn.Module):
    """Both in one: a padded shortcut into a stream that is then halved, branched and shuffled."""

    def __init__(self, half: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.padded = HeBlock(half, 2 * half, 2)
        self.stem = nn.Sequential(nn.Conv2d(3, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.shuffled = ShuffleNet(half, classes)
        self.shuffled.stem = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffled(self.padded(self.stem(x)))
