"""Augmentation of whole batches at once: random crops after zero padding, and horizontal flips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Augmentation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Each image is shifted by up to `pad` pixels, zeros coming in, and mirrored half of the time if `flip`.

    With pad 4 and flips this is what He et al. 2015 (section 4.2) train CIFAR networks with.
    """

    pad: int = 0
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augmented images, [batch, channels, height, width], drawn from the CPU generator on any device."""
        if self.pad:
            images = self._shift(images, generator)
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator).to(images.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images

    def _shift(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        offsets = torch.randint(0, 2 * self.pad + 1, (2, count), generator=generator).to(images.device)
        padded = F.pad(images, (self.pad,) * 4)
        # every crop is a view into the padded batch; one gather picks each image's own: no loop over images
        crops = padded.unfold(2, height, 1).unfold(3, width, 1)
        return crops[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]
