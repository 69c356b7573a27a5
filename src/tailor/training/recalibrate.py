"""BatchNorm statistics estimated anew: the first step after channels have been cut."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tailor.training.modes import mode_kept
from tailor.training.precision import autocast

__all__ = ["recalibrate"]


def recalibrate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, precision: str = "fp32") -> None:
    """Running means and variances become the plain averages over these batches; nothing else changes.

    Cut channels change what later layers see, so inherited statistics are wrong (Li et al. 2020, "EagleEye", section
    3.3). Only BatchNorm layers run in train mode: dropout would add noise that the network will not see. A model
    without running statistics is left alone.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with mode_kept(model), torch.no_grad():
        model.eval()
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # torch's sign for the cumulative average
        try:
            for images, _ in batches:
                with autocast(precision, images.device.type):
                    model(images)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
