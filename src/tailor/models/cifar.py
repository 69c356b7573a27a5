"""The names of Tailor's own networks: `resnet56-cifar10`, `vgg16-cifar@0.5`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tailor.models.cifar_resnet import CifarResNet
from tailor.models.resnet import ResNet
from tailor.models.vgg import VGG

__all__ = ["CifarName", "cifar_names", "parse_cifar_name"]

# network -> builder(num_classes, width)
NETWORKS: dict[str, Callable[[int, float], nn.Module]] = {
    "vgg16": VGG,
    "resnet18": lambda classes, width: ResNet((2, 2, 2, 2), classes, width),
    "resnet34": lambda classes, width: ResNet((3, 4, 6, 3), classes, width),
    "resnet20": lambda classes, width: CifarResNet(20, classes, width),
    "resnet32": lambda classes, width: CifarResNet(32, classes, width),
    "resnet44": lambda classes, width: CifarResNet(44, classes, width),
    "resnet56": lambda classes, width: CifarResNet(56, classes, width),
    "resnet110": lambda classes, width: CifarResNet(110, classes, width),
}
# data set -> (classes, image side in pixels)
DATA_SETS: dict[str, tuple[int, int]] = {
    "cifar": (10, 32),
    "cifar10": (10, 32),
    "cifar100": (100, 32),
    "tiny-imagenet": (200, 64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CifarName:
    """A parsed name: which network, for how many classes, on which image side (pixels), how wide."""

    network: str
    num_classes: int
    side: int
    width: float = 1.0

    def build(self, num_classes: int | None = None) -> nn.Module:
        """The network with fresh weights, shape [batch, 3, side, side] to [batch, num_classes]."""
        return NETWORKS[self.network](self.num_classes if num_classes is None else num_classes, self.width)


def cifar_names() -> list[str]:
    """Every name without its width suffix."""
    return [f"{network}-{data}" for network in NETWORKS for data in DATA_SETS]


def parse_cifar_name(name: str) -> CifarName | None:
    """What `network-data[@width]` means, or None when no such network exists."""
    match = re.fullmatch(r"([a-z]+\d+)-([a-z0-9-]+?)(?:@(\d+(?:\.\d+)?|\.\d+))?", name)
    if match is None or match[1] not in NETWORKS or match[2] not in DATA_SETS:
        return None
    width = float(match[3] or 1.0)
    if width <= 0:
        return None
    classes, side = DATA_SETS[match[2]]
    return CifarName(network=match[1], num_classes=classes, side=side, width=width)
