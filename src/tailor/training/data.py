"""A labelled image set in three splits, and its batches: normalised, shuffled and augmented by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tailor.errors import DataError, InvalidOptionError
from tailor.training.augment import Augmentation
from tailor.training.splits import Chunk, Split, stratified

__all__ = ["NORMALIZATIONS", "Batch", "Data", "Normalization", "split_data"]

Batch = tuple[Tensor, Tensor]
SPLITS = ("train", "heldout", "test")
NO_AUGMENTATION = Augmentation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """Per-channel mean and standard deviation of RGB in [0, 1] that the network expects to be removed."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [batch, 3, height, width] as float32 of about zero mean and unit deviation; floats pass through."""
        if images.is_floating_point():
            return images.to(torch.float32)
        scale = torch.tensor(self.std, device=images.device).mul(255).reciprocal().view(1, 3, 1, 1)
        offset = (torch.tensor(self.mean, device=images.device) / torch.tensor(self.std, device=images.device)).view(
            1, 3, 1, 1
        )
        return images.to(torch.float32).mul_(scale).sub_(offset)


NORMALIZATIONS: dict[str, Normalization] = {
    "imagenet": Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "cifar": Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    "none": Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """Images in three splits: `train`, `heldout` (taken out of the training set, for choosing) and `test`.

    Every split is shuffled once by seed, so that its first n images are a fair sample. `input_shape` is
    (channels, height, width). Can be pickled.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, int, int]
    train: Split
    heldout: Split
    test: Split
    normalization: Normalization = NORMALIZATIONS["imagenet"]
    augmentation: Augmentation = NO_AUGMENTATION
    batch_size: int = 128

    def count(self, split: str) -> int:
        """Images in a split."""
        return len(self._split(split).labels)

    def batches(
        self,
        split: str,
        batch_size: int | None = None,
        *,
        shuffle_seed: int | None = None,
        augment: bool = False,
        limit: int | None = None,
        drop_incomplete: bool = False,
        device: str | torch.device = "cpu",
    ) -> Iterator[Batch]:
        """Batches of (images float32 [batch, 3, height, width], labels int64 [batch]), the same for the same arguments.

        The order is the split's own, or a permutation by `shuffle_seed`, which also seeds the augmentation; `limit`
        takes the first so many images of that order; `drop_incomplete` leaves out a last batch that is not full,
        unless it is the only one.

        Raises:
            InvalidOptionError: unknown split, or a batch size or limit below 1.
            DataError: an image cannot be decoded.
        """
        source = self._split(split)
        size = self.batch_size if batch_size is None else batch_size
        for name, value in (("batch_size", size), ("limit", limit)):
            if value is not None and value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)
        generator = torch.Generator().manual_seed(shuffle_seed or 0)
        indices = torch.arange(len(source.labels))
        if shuffle_seed is not None:
            indices = indices[torch.randperm(len(indices), generator=generator)]
        parts = list(torch.split(indices[:limit], size))
        if drop_incomplete and len(parts) > 1 and len(parts[-1]) < size:
            parts.pop()
        return self._stream(source, parts, generator, augment, torch.device(device))

    def limited(self, *, train: int | None = None, heldout: int | None = None) -> Data:
        """The same data with only the first so many training and held-out images."""
        changes: dict[str, Split] = {}
        for name, count in (("train", train), ("heldout", heldout)):
            if count is not None:
                changes[name] = self._split(name).subset(torch.arange(min(count, self.count(name))))
        return replace(self, **changes)  # type: ignore[arg-type]

    def _split(self, name: str) -> Split:
        if name not in SPLITS:
            raise InvalidOptionError(f"split {name!r} is not one of {', '.join(SPLITS)}", value=name)
        split: Split = getattr(self, name)
        return split

    def _stream(
        self,
        source: Split,
        parts: list[Tensor],
        generator: torch.Generator,
        augment: bool,
        device: torch.device,
    ) -> Iterator[Batch]:
        def seeds(part: Tensor) -> Tensor | None:
            return torch.randint(2**31, (len(part),), generator=generator) if augment else None

        chunks = [Chunk(indices=part, seeds=seeds(part)) for part in parts]
        for chunk, images in zip(chunks, source.stream(chunks), strict=True):
            moved = images.to(device, non_blocking=True)
            if augment:
                moved = self.augmentation(moved, generator)
            yield self.normalization(moved), source.labels[chunk.indices].to(device, non_blocking=True)


def split_data(
    name: str,
    num_classes: int,
    train: Split,
    test: Split,
    *,
    input_shape: tuple[int, int, int],
    augmentation: Augmentation,
    heldout: float = 0.1,
    seed: int = 0,
) -> Data:
    """Data whose held-out split is the given share of every class of the training set, chosen by seed.

    Raises:
        InvalidOptionError: a share that is not between 0 and 1.
        DataError: too few training images to hold any out, or no test images.
    """
    if not 0 < heldout < 1:
        raise InvalidOptionError(f"the held-out share must be between 0 and 1, not {heldout}", value=heldout)
    rest, chosen = stratified(train.labels, heldout, seed)
    if not len(chosen) or not len(rest):
        raise DataError(f"{name}: {len(train.labels)} training images are too few to hold some out", value=name)
    if not len(test.labels):
        raise DataError(f"{name}: there are no test images", value=name)
    order = torch.randperm(len(test.labels), generator=torch.Generator().manual_seed(seed))
    return Data(
        name=name,
        num_classes=num_classes,
        input_shape=input_shape,
        train=train.subset(rest),
        heldout=train.subset(chosen),
        test=test.subset(order),
        augmentation=augmentation,
    )
