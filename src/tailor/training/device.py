"""Where networks are trained and scored: a GPU when there is one, whatever the target is."""

from __future__ import annotations

import torch

__all__ = ["training_device"]


def training_device() -> str:
    """ "cuda" where PyTorch finds a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"
