"""Where images come from: tensors in memory, files decoded when needed, or anybody's map-style dataset."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tailor.engines.host import available_cores
from tailor.errors import DataError
from tailor.training.decode import load_crop, load_image, to_tensor
from tailor.training.modes import seeded

__all__ = ["Chunk", "DatasetSplit", "FileSplit", "Split", "TensorSplit", "stratified"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """The images of one batch: their indices [batch], and one seed per image [batch] when they are to be augmented."""

    indices: Tensor
    seeds: Tensor | None = None


class Split(Protocol):
    """Labelled images that can be had batch by batch."""

    @property
    def labels(self) -> Tensor:
        """Class of every image, int64 [count]."""

    def stream(self, chunks: Iterable[Chunk]) -> Iterator[Tensor]:
        """Images chunk by chunk: uint8 [batch, 3, height, width], or float32 already normalised."""

    def subset(self, indices: Tensor) -> Split:
        """These images, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TensorSplit:
    """Images held in memory: uint8 [count, 3, height, width]."""

    images: Tensor
    labels: Tensor

    def stream(self, chunks: Iterable[Chunk]) -> Iterator[Tensor]:
        """Images chunk by chunk; augmentation is left to the batch."""
        for chunk in chunks:
            yield self.images[chunk.indices]

    def subset(self, indices: Tensor) -> TensorSplit:
        """These images, copied."""
        return TensorSplit(images=self.images[indices], labels=self.labels[indices])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileSplit:
    """Image files, decoded when needed to [3, side, side]; a random resized crop when augmented, else the centre."""

    paths: tuple[str, ...]
    labels: Tensor
    side: int

    def stream(self, chunks: Iterable[Chunk]) -> Iterator[Tensor]:
        """Images chunk by chunk; the next chunk is decoded by threads while this one is in use.

        Raises:
            DataError: a file cannot be decoded.
        """
        pending: deque[list[Future[Tensor]]] = deque()
        pool = ThreadPoolExecutor(max_workers=available_cores())
        try:
            for chunk in chunks:
                pending.append([pool.submit(self._decode, *job) for job in self._jobs(chunk)])
                if len(pending) == 2:
                    yield torch.stack([future.result() for future in pending.popleft()])
            while pending:
                yield torch.stack([future.result() for future in pending.popleft()])
        finally:  # also when the reader stops early or is interrupted
            pool.shutdown(wait=True, cancel_futures=True)

    def subset(self, indices: Tensor) -> FileSplit:
        """These files."""
        paths = tuple(self.paths[i] for i in indices.tolist())
        return FileSplit(paths=paths, labels=self.labels[indices], side=self.side)

    def _jobs(self, chunk: Chunk) -> list[tuple[int, int | None]]:
        seeds = [None] * len(chunk.indices) if chunk.seeds is None else chunk.seeds.tolist()
        return list(zip(chunk.indices.tolist(), seeds, strict=True))

    def _decode(self, index: int, seed: int | None) -> Tensor:
        if seed is None:
            return load_image(self.paths[index], self.side, self.side, margin=256 / 224)
        return load_crop(self.paths[index], self.side, np.random.default_rng(seed))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetSplit:
    """A map-style dataset of (image, label) pairs: PIL or uint8 images, or float tensors that are taken as normalised.

    `positions` maps this split's indices to the dataset's. Whatever the dataset's own transforms draw from torch's
    global generator is seeded here, and the generator is left as it was.
    """

    dataset: Any
    positions: Tensor
    labels: Tensor

    def stream(self, chunks: Iterable[Chunk]) -> Iterator[Tensor]:
        """Images chunk by chunk.

        Raises:
            DataError: images of different shapes.
        """
        for chunk in chunks:
            seed = 0 if chunk.seeds is None else int(chunk.seeds[0])
            with seeded(seed):
                images = [to_tensor(self.dataset[i][0]) for i in self.positions[chunk.indices].tolist()]
            shapes = {tuple(image.shape) for image in images}
            if len(shapes) > 1:
                raise DataError(f"images of one batch differ in shape: {sorted(shapes)}; resize them", value=shapes)
            yield torch.stack(images)

    def subset(self, indices: Tensor) -> DatasetSplit:
        """These positions."""
        return DatasetSplit(dataset=self.dataset, positions=self.positions[indices], labels=self.labels[indices])


def stratified(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Two shuffled index tensors, the rest and the chosen, with the chosen share of every class (at least one image).

    Classes of a single image stay whole in the rest.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        members = shuffled[labels[shuffled] == label]
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        chosen[members[:count]] = True
    return shuffled[~chosen[shuffled]], shuffled[chosen[shuffled]]
