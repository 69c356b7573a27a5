"""Folders of images as splits: one folder per class, or Tiny ImageNet's own layout; small images are decoded once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tailor.errors import DataError
from tailor.training.decode import decode_all, image_size
from tailor.training.splits import FileSplit, Split, TensorSplit

__all__ = ["Listing", "image_folder", "list_classes", "splits_of", "tiny_imagenet"]

SMALL_SIDE = 96  # pixels: images up to this size are kept in memory
DEFAULT_SIDE = 224  # pixels: what larger images are cropped to


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Image files of one split, their class indices, and the class names in index order."""

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]


def image_folder(root: Path) -> tuple[Listing, Listing]:
    """Training and test files of `train/<class>/*` and `test/<class>/*`, or `val/` where there is no `test/`.

    Raises:
        DataError: a folder is missing or empty, or the two have different classes.
    """
    expected = f"expected {root}/train/<class>/*.jpg and {root}/test/<class>/*.jpg (or val/)"
    if not root.is_dir():
        raise DataError(f"no folder {root}; {expected}", value=str(root))
    test_folder = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test_folder is None:
        missing = "train/" if not (root / "train").is_dir() else "test/ or val/"
        raise DataError(f"{root} has no {missing}; {expected}", value=str(root))
    train, test = list_classes(root / "train"), list_classes(test_folder)
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(
            f"{root}/train and {test_folder} differ in classes {', '.join(differing[:3])}; {expected}", value=differing
        )
    return train, test


def tiny_imagenet(root: Path) -> tuple[Listing, Listing]:
    """Training and validation files of Tiny ImageNet as it is published; class index is the order of the folder names.

    `train/<wnid>/images/*.JPEG`, and `val/images/*.JPEG` with their classes in `val/val_annotations.txt`.

    Raises:
        DataError: a part of that layout is missing.
    """
    expected = f"expected {root}/train/<wnid>/images/*.JPEG and {root}/val/val_annotations.txt"
    annotations = root / "val" / "val_annotations.txt"
    if not (root / "train").is_dir() or not annotations.is_file():
        raise DataError(f"{root} is not Tiny ImageNet; {expected}", value=str(root))
    train = list_classes(root / "train", below="images")
    index = {wnid: label for label, wnid in enumerate(train.classes)}
    rows = [line.split("\t") for line in annotations.read_text().splitlines() if line.strip()]
    unknown = [row for row in rows if len(row) < 2 or row[1] not in index]
    if unknown or not rows:
        raise DataError(f"{annotations} names images without a known class: {unknown[:1]}", value=unknown[:1])
    paths = tuple(str(root / "val" / "images" / row[0]) for row in rows)
    return train, Listing(classes=train.classes, paths=paths, labels=tuple(index[row[1]] for row in rows))


def list_classes(folder: Path, below: str = "") -> Listing:
    """Files of `folder/<class>/<below>/*`; classes and files are in alphabetical order.

    Raises:
        DataError: no class folder, or a class without an image.
    """
    classes = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()))
    if not classes:
        raise DataError(f"{folder} holds no class folders; expected {folder}/<class>/*.jpg", value=str(folder))
    known = tuple(Image.registered_extensions())
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = folder / name / below
        names = os.listdir(inside) if inside.is_dir() else []
        files = sorted(file for file in names if file.lower().endswith(known))
        if not files:
            raise DataError(f"{inside} holds no images; remove the folder or fill it", value=str(inside))
        paths += [str(inside / file) for file in files]
        labels += [label] * len(files)
    return Listing(classes=classes, paths=tuple(paths), labels=tuple(labels))


def splits_of(train: Listing, test: Listing, side: int | None, cache: Path) -> tuple[Split, Split, tuple[int, int]]:
    """The two splits, and the (height, width) in pixels of their images.

    Images that are all small, or wanted small, are decoded once, stored in the cache folder and kept in memory; others
    are decoded when needed.

    Raises:
        DataError: a file cannot be decoded.
    """
    size = (side, side) if side is not None else _common_size(train)
    if size is None:
        size = (DEFAULT_SIDE, DEFAULT_SIDE)
    labels = {name: torch.tensor(each.labels) for name, each in (("train", train), ("test", test))}
    if max(size) > SMALL_SIDE:
        large = [FileSplit(paths=each.paths, labels=torch.tensor(each.labels), side=size[0]) for each in (train, test)]
        return large[0], large[1], (size[0], size[0])
    images = _decoded({"train": train, "test": test}, size, cache)
    small = [TensorSplit(images=images[name], labels=labels[name]) for name in ("train", "test")]
    return small[0], small[1], size


def _common_size(listing: Listing) -> tuple[int, int] | None:
    """(height, width) that a hundred images spread over the set share, or None."""
    sizes = {image_size(path) for path in listing.paths[:: max(1, len(listing.paths) // 100)]}
    size = sizes.pop()
    return size if not sizes and max(size) <= SMALL_SIDE else None


def _decoded(listings: Mapping[str, Listing], size: tuple[int, int], cache: Path) -> dict[str, Tensor]:
    file = cache / f"{_key(listings, size)}.safetensors"
    if file.is_file():
        try:
            return load_file(file)
        except (SafetensorError, OSError):
            pass  # only a cache: a damaged copy is decoded and written anew below
    images = {name: decode_all(listing.paths, *size) for name, listing in listings.items()}
    cache.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=cache, suffix=".partial")
    os.close(handle)
    try:
        save_file(images, name)
        os.replace(name, file)  # two processes may do this at once: each writes the same content whole
    finally:
        Path(name).unlink(missing_ok=True)
    return images


def _key(listings: Mapping[str, Listing], size: tuple[int, int]) -> str:
    """Changes whenever a file is added, removed, renamed, resized or touched."""
    digest = hashlib.sha256(f"{size}".encode())
    for name, listing in listings.items():
        digest.update(name.encode())
        for path in listing.paths:
            status = os.stat(path)
            digest.update(f"{path}:{status.st_size}:{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]
