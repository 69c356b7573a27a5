"""VGG-16 for small images: thirteen 3x3 convolutions with BatchNorm, one linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from tailor.models.widths import initialise, scaled

__all__ = ["VGG"]

VGG16_PLAN: tuple[tuple[int, int], ...] = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each halved by max pooling, then global average and one linear layer.

    The CIFAR variant of VGG-16 (Simonyan and Zisserman 2014, configuration D, with BatchNorm and without the 4096-wide
    hidden layers). Input [batch, 3, height, width] with height and width at least 32; output [batch, num_classes].
    """

    def __init__(self, num_classes: int = 10, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for channels, count in VGG16_PLAN:
            planes = scaled(channels, width)
            for _ in range(count):
                layers += [nn.Conv2d(previous, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU()]
                previous = planes
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(previous, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits
