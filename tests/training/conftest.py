"""A planted problem small enough to train in a second: four classes told apart by where the bright corner is."""

import pytest
import torch
from torch import nn

from tailor.training.augment import Augmentation
from tailor.training.data import split_data
from tailor.training.splits import TensorSplit


def corner_images(count, seed, side=8, brighter=30):
    """uint8 noise [count, 3, side, side] whose corner number `label` is brighter."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    images = torch.randint(0, 160, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    half = side // 2
    for image, label in zip(images, labels.tolist(), strict=True):
        y, x = divmod(label, 2)
        image[:, y * half : (y + 1) * half, x * half : (x + 1) * half] += brighter
    return TensorSplit(images=images, labels=labels)


class CornerNet(nn.Module):
    """Two convolutions with BatchNorm, dropout, and a linear layer that sees the corners."""

    def __init__(self, width=8):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(2), nn.Dropout(0.1)
        self.linear = nn.Linear(32, 4)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.linear(self.dropout(self.pool(x).flatten(1)))


@pytest.fixture
def corners():
    """Data of 360 training, 40 held-out and 100 test images, [3, 8, 8]."""
    return split_data(
        "corners",
        4,
        corner_images(400, seed=1),
        corner_images(100, seed=2),
        input_shape=(3, 8, 8),
        augmentation=Augmentation(pad=1),
    )


@pytest.fixture
def make_net():
    """Builds the same fresh network every time."""

    def make(width=8, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return CornerNet(width)

    return make
