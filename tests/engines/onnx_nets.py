"""Networks whose graphs are awkward for an exporter, small enough to compile in a moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["Branches", "Nested", "Refused", "SecondExporterOnly", "seeded"]


class Branches(nn.Module):
    """Concatenation, a depthwise convolution, squeeze and excitation, a transposed convolution, a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish())
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.normed = weight_norm(nn.Conv2d(16, 6, 1))
        self.up = nn.Sequential(nn.ConvTranspose2d(6, 6, 2, stride=2), nn.BatchNorm2d(6))
        self.shared = nn.Linear(6, 6)
        self.head = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        deep = self.depthwise(stem)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(deep.mean((2, 3), keepdim=True)))))
        x = self.up(self.normed(torch.cat([stem, deep * gate], 1))).mean((2, 3))
        return self.head(self.shared(torch.relu(self.shared(x))))


@dataclass
class Detection:
    boxes: Tensor
    scores: list[Tensor]
    count: int


class Nested(nn.Module):
    """Takes tensors, a pair, a number and None; answers with a mapping, a list and a dataclass; writes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor, pair: tuple[Tensor, Tensor], scale: float, mask: None) -> dict[str, object]:
        first = self.conv(x).mul_(scale)
        x.add_(1)
        return {"first": first, "more": [pair[0] + pair[1], 3], "last": Detection(first.mean((2, 3)), [x], 7)}


class Refused(nn.Module):
    """An operator that ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x.mean((0, 1))).abs()


class SecondExporterOnly(nn.Module):
    """A spectrum, which torch's first exporter cannot write."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(self.conv(x)).abs()


def seeded(kind: type[nn.Module], *arguments: object) -> nn.Module:
    """The network with weights of seed 0 and BatchNorm statistics away from their defaults, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind(*arguments)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (part.weight, part.running_var):
                    nn.init.uniform_(values, 0.5, 2.0)
                for values in (part.bias, part.running_mean):
                    nn.init.normal_(values)
        return network.eval()
