"""Contexts that lend a mode, a memory layout or a random state, and give back what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["channels_last", "mode_kept", "seeded"]


@contextmanager
def mode_kept(model: nn.Module) -> Iterator[None]:
    """Every submodule's train or eval flag is on leaving what it was on entering."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Inside, convolution weights lie channels-last, which is faster on CPUs and GPUs alike; values never change."""
    weights = [p for p in model.parameters() if p.dim() == 4 and p.is_contiguous()]
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for weight in weights:
            weight.data = weight.data.contiguous()


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Inside, torch's global generators of the CPU and of this device start from the seed; afterwards they go on."""
    place = torch.device(device)
    cuda = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        # torch.manual_seed would seed every GPU, and only the states forked here are restored
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        yield
