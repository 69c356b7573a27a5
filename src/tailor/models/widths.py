"""Width multipliers and the initialisation that the CIFAR networks share."""

from __future__ import annotations

from torch import nn

__all__ = ["initialise", "scaled"]


def scaled(channels: int, width: float) -> int:
    """Channels times the multiplier, rounded, at least one."""
    return max(1, round(channels * width))


def initialise(model: nn.Module) -> None:
    """Draw convolution weights as He et al. 2015 (fan-out, ReLU); BatchNorm starts as identity, linear as in torch."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
