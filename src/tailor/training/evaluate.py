"""Accuracy: how many images get their own class as the highest logit."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tailor.errors import DataError, InvalidOptionError
from tailor.training.modes import mode_kept
from tailor.training.precision import autocast

__all__ = ["accuracy", "logits_of"]


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, precision: str = "fp32") -> float:
    """Top-1 accuracy, 0 to 1, in eval mode and without gradients; the model is left as it was.

    Raises:
        DataError: there is not one image.
    """
    right = count = 0
    with mode_kept(model), torch.no_grad():
        model.eval()
        for images, labels in batches:
            with autocast(precision, images.device.type):
                logits = logits_of(model(images))
            right += int((logits.argmax(1) == labels).sum())
            count += len(labels)
    if not count:
        raise DataError("accuracy needs at least one image", value=0)
    return right / count


def logits_of(output: object) -> Tensor:
    """The logits [batch, classes] in what a classifier returns: a tensor, or the first of a tuple or dict.

    Raises:
        InvalidOptionError: there is no such tensor, so the model is no classifier.
    """
    if isinstance(output, dict):
        output = next(iter(output.values()), None)
    elif isinstance(output, tuple | list):
        output = output[0] if output else None
    if isinstance(output, Tensor) and output.dim() == 2:
        return output
    shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise InvalidOptionError(f"accuracy needs a classifier with output [batch, classes], not {shape}", value=shape)
