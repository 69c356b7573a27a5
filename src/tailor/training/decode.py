"""Image files to uint8 tensors: whole sets once into a cache file, or one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from tailor.engines.host import available_cores
from tailor.errors import DataError

__all__ = ["decode_all", "image_size", "load_crop", "load_image", "to_tensor"]


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) in pixels, from the file's header alone.

    Raises:
        DataError: the file is no image.
    """
    with _opened(path) as image:
        return image.height, image.width


def load_image(path: str | Path, height: int, width: int, *, margin: float = 1.0) -> Tensor:
    """The centre of the image, uint8 [3, height, width].

    An image of another size is first scaled so that it covers `margin` times the wanted size.

    Raises:
        DataError: the file cannot be decoded.
    """
    with _opened(path) as image:
        if image.size == (width, height):
            return to_tensor(_rgb(image, path))
        scale = margin * max(height / image.height, width / image.width)
        size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
        image.draft("RGB", size)  # lets the JPEG decoder skip detail that scaling would throw away
        scaled = _rgb(image, path).resize(size, Image.Resampling.BILINEAR)
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return to_tensor(scaled.crop((left, top, left + width, top + height)))


def load_crop(path: str | Path, side: int, random: np.random.Generator) -> Tensor:
    """A random part of the image scaled to uint8 [3, side, side]: 8 to 100 % of the area, aspect 3:4 to 4:3.

    The crop of Szegedy et al. 2014 ("Going deeper with convolutions", section 6) that ImageNet training uses.

    Raises:
        DataError: the file cannot be decoded.
    """
    with _opened(path) as image:
        box = _random_box(image.width, image.height, random)
        cropped = _rgb(image, path).resize((side, side), Image.Resampling.BILINEAR, box=box)
        return to_tensor(cropped)


def _random_box(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            return left, top, left + w, top + h
    side = min(width, height)  # a very long image: its middle
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def to_tensor(image: Any) -> Tensor:
    """A PIL image as uint8 [3, height, width]; tensors pass through, grey ones as three equal channels.

    Raises:
        DataError: anything else.
    """
    if isinstance(image, Tensor):
        if image.dim() != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
            raise DataError(f"an image must be [channels, height, width], not {list(image.shape)}", value=image.dtype)
        return image.expand(3, -1, -1) if image.shape[0] == 1 else image
    if isinstance(image, Image.Image):
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
    raise DataError(f"an image must be a PIL image or a tensor, not a {type(image).__name__}", value=image)


def decode_all(paths: Sequence[str], height: int, width: int) -> Tensor:
    """All images in memory, uint8 [count, 3, height, width], decoded by as many threads as there are cores.

    Raises:
        DataError: a file cannot be decoded.
    """
    images = torch.empty((len(paths), 3, height, width), dtype=torch.uint8)
    slices = np.array_split(np.arange(len(paths)), max(1, len(paths) // 256))

    def decode(part: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        for index in part:
            images[index] = load_image(paths[index], height, width)

    with ThreadPoolExecutor(max_workers=available_cores()) as pool:
        for _ in pool.map(decode, slices):
            pass
    return images


def _opened(path: str | Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{os.fspath(path)} is no readable image: {error}", value=str(path)) from None


def _rgb(image: Image.Image, path: str | Path) -> Image.Image:
    try:
        return image.convert("RGB")
    except (OSError, SyntaxError) as error:  # PIL reports a broken PNG as SyntaxError
        raise DataError(f"{os.fspath(path)} is damaged: {error}", value=str(path)) from None
