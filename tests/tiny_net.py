"""A small real network for tests of the whole line: three convolutions, one residual stream, some latency to lose."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TinyNet(nn.Module):
    """Works on [batch, 3, 32, 32]; `stem` and `back` are tied by an addition, `inner` and `head` are free."""

    input_shape = (3, 32, 32)

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(32, 96, 3, 1, 1, bias=False), nn.BatchNorm2d(96), nn.ReLU())
        self.back = nn.Sequential(nn.Conv2d(96, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))
        self.head = nn.Sequential(nn.Conv2d(32, 96, 3, 2, 1, bias=False), nn.BatchNorm2d(96), nn.ReLU())
        self.classifier = nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        x = torch.relu(stem + self.back(self.inner(stem)))
        return self.classifier(self.head(x).mean((2, 3)))


def make() -> nn.Module:
    """The network with the weights of seed 0, as a factory for the command line."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyNet().eval()


def rigid() -> nn.Module:
    """A network with nothing to prune: its only layer's outputs are the network's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
        net.input_shape = (3, 32, 32)
        return net
