"""`--data SPEC -> Data`: digits, CIFAR, Tiny ImageNet, folders of images, or a function in a Python file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from platformdirs import user_cache_dir

from tailor.errors import DataError, InvalidOptionError, UnknownNameError
from tailor.models.factory import call_factory, is_factory
from tailor.training.augment import Augmentation
from tailor.training.data import NORMALIZATIONS, Data, split_data
from tailor.training.folders import SMALL_SIDE, Listing, image_folder, splits_of, tiny_imagenet
from tailor.training.splits import Chunk, DatasetSplit, Split, TensorSplit, stratified

__all__ = ["load_data"]

FORMS = "digits, cifar10[:ROOT], cifar100[:ROOT], tiny-imagenet:ROOT, imagefolder:PATH or path/to/file.py:function"
SHIFT_AND_FLIP = Augmentation(pad=4, flip=True)  # He et al. 2015, section 4.2
MEMORY_LIMIT = 2 << 30  # bytes of uint8 images that a dataset object may be turned into


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What a loader needs: the text after the colon, and the options."""

    spec: str
    root: str
    side: int | None
    heldout: float
    seed: int
    cache: Path


def load_data(
    spec: str,
    *,
    batch_size: int = 128,
    seed: int = 0,
    image_size: int | None = None,
    normalize: str | None = None,
    heldout: float = 0.1,
    cache: Path | None = None,
) -> Data:
    """The data that the text names, split by seed; a tenth of the training set is held out unless told otherwise.

    `digits`, `cifar10[:ROOT]`, `cifar100[:ROOT]`, `tiny-imagenet:ROOT`, `imagefolder:PATH`, or `file.py:function`,
    which returns a Data or a (train, test) pair of map-style datasets. `normalize` is "imagenet" (default), "cifar" or
    "none" and may also be written into the text, as in `imagefolder:PATH?normalize=cifar&size=64`. Decoded small
    images are kept under `cache`.

    Raises:
        UnknownNameError: no such data set, normalisation or file.
        InvalidOptionError: an option that means nothing.
        DataError: the data is missing, empty or of another layout; the message says what was expected.
    """
    plain, written = _parse_options(spec)
    normalize = normalize or written.get("normalize") or "imagenet"
    if normalize not in NORMALIZATIONS:
        known = ", ".join(NORMALIZATIONS)
        raise UnknownNameError(f"no normalisation {normalize!r}; known are {known}", value=normalize)
    request = _Request(
        spec=plain,
        root=plain if is_factory(plain) else plain.partition(":")[2],
        side=_side(image_size if image_size is not None else written.get("size")),
        heldout=heldout,
        seed=seed,
        cache=cache or Path(user_cache_dir("tailor")) / "decoded",
    )
    if is_factory(plain):
        made = call_factory(plain)
        if isinstance(made, Data):
            return made  # complete: its own normalisation and batch size hold
        data = _from_datasets(request, made)
    else:
        data = _loader(plain)(request)
    return replace(data, normalization=NORMALIZATIONS[normalize], batch_size=batch_size)


def _parse_options(spec: str) -> tuple[str, dict[str, str]]:
    match = re.fullmatch(r"(.+?)\?((?:\w+=\w*&?)+)", spec)
    if match is None:
        return spec, {}
    options = dict(part.split("=", 1) for part in match[2].rstrip("&").split("&"))
    unknown = sorted(set(options) - {"normalize", "size"})
    if unknown:
        raise InvalidOptionError(f"data option {unknown[0]!r} in {spec!r} is not normalize or size", value=unknown[0])
    return match[1], options


def _side(value: int | str | None) -> int | None:
    if value is None:
        return None
    try:
        side = int(value)
    except ValueError:
        side = 0
    if side < 1:
        raise InvalidOptionError(f"image size {value!r} is not a positive number of pixels", value=value)
    return side


def _loader(plain: str) -> Callable[[_Request], Data]:
    name, colon, root = plain.partition(":")
    if name not in LOADERS:
        close = difflib.get_close_matches(name, LOADERS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownNameError(f"no data set {plain!r}; {hint}give {FORMS}", value=plain)
    if name in {"tiny-imagenet", "imagefolder"} and not root:
        raise InvalidOptionError(f"{name} needs a folder: give {name}:PATH", value=plain)
    if name == "digits" and colon:
        raise InvalidOptionError(f"digits are built in and take no folder: not {plain!r}", value=plain)
    return LOADERS[name]


def _digits(request: _Request) -> Data:
    """1797 handwritten digits, 8x8 in 16 grey levels (scikit-learn), scaled to 32x32 in three equal channels."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    side = request.side or 32
    grey = torch.from_numpy(raw.images).to(torch.float32).mul(255 / 16)[:, None]
    scaled = F.interpolate(grey, size=(side, side), mode="bilinear", align_corners=False)
    images = scaled.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    whole = TensorSplit(images=images, labels=torch.from_numpy(raw.target).to(torch.int64))
    train, test = stratified(whole.labels, 0.2, seed=0)  # fixed: test images stay test images whatever the seed
    # mirrored digits are other digits or none, so no flips
    return _finish(request, 10, whole.subset(train), whole.subset(test), (side, side), Augmentation(pad=side // 16))


def _cifar(request: _Request) -> Data:
    """CIFAR-10 or CIFAR-100 in torchvision's format, downloaded only when it is not in its folder."""
    from torchvision.datasets import CIFAR10, CIFAR100

    name = request.spec.partition(":")[0]
    kind = CIFAR100 if name == "cifar100" else CIFAR10
    root = request.root or str(request.cache.parent / "data")
    if request.side not in {None, 32}:
        raise InvalidOptionError(f"{name} images are 32 pixels wide, not {request.side}", value=request.side)
    try:
        train, test = (_read_or_download(kind, root, train=part) for part in (True, False))
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{name} is not in {root} and could not be downloaded ({reason}); put {kind.base_folder}/ there",
            value=root,
        ) from None
    splits = [
        TensorSplit(
            images=torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),
            labels=torch.tensor(part.targets),
        )
        for part in (train, test)
    ]
    return _finish(request, len(train.classes), splits[0], splits[1], (32, 32), SHIFT_AND_FLIP)


def _read_or_download(kind: Any, root: str, *, train: bool) -> Any:
    try:
        return kind(root, train=train, download=False)
    except RuntimeError:  # torchvision's way to say that files are missing or damaged
        return kind(root, train=train, download=True)


def _folder(request: _Request) -> Data:
    """Images of `train/<class>/` and `test/<class>/` (or `val/`)."""
    return _from_listings(request, image_folder)


def _tiny_imagenet(request: _Request) -> Data:
    """Tiny ImageNet: 200 classes, 64x64; its validation images are the test split, since its test has no labels."""
    return _from_listings(request, tiny_imagenet)


def _from_listings(request: _Request, lister: Callable[[Path], tuple[Listing, Listing]]) -> Data:
    listings = lister(Path(os.path.expanduser(request.root)))
    train, test, size = splits_of(*listings, request.side, request.cache)
    small = max(size) <= SMALL_SIDE
    # larger images get random crops where they are decoded
    augmentation = Augmentation(pad=min(size) // 8 if small else 0, flip=True)
    return _finish(request, len(listings[0].classes), train, test, size, augmentation)


def _from_datasets(request: _Request, made: object) -> Data:
    """Data from a (train, test) pair of map-style datasets; small images are taken into memory."""
    if not isinstance(made, tuple | list) or len(made) != 2 or not all(hasattr(part, "__getitem__") for part in made):
        raise DataError(
            f"{request.spec} must return a Data or a (train, test) pair of datasets, not {type(made).__name__}",
            value=request.spec,
        )
    train, test = (_dataset_split(part) for part in made)
    if not len(train.labels):
        raise DataError(f"{request.spec}: the training set is empty", value=request.spec)
    first = next(train.stream([Chunk(indices=torch.tensor([0]))]))
    _, _, height, width = first.shape
    fits = (len(train.labels) + len(test.labels)) * first.numel() <= MEMORY_LIMIT
    small = max(height, width) <= SMALL_SIDE and not first.is_floating_point() and fits
    splits = [_in_memory(part) if small else part for part in (train, test)]
    classes = int(max(int(part.labels.max()) for part in splits if len(part.labels))) + 1
    named = len(getattr(made[0], "classes", ()))
    # what the dataset's own transforms do is the user's affair: no augmentation on top
    return _finish(request, max(classes, named), splits[0], splits[1], (height, width), Augmentation())


def _dataset_split(dataset: Any) -> DatasetSplit:
    targets = getattr(dataset, "targets", None)
    labels = targets if targets is not None else [int(dataset[i][1]) for i in range(len(dataset))]
    tensor = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
    return DatasetSplit(dataset=dataset, positions=torch.arange(len(tensor)), labels=tensor)


def _in_memory(split: DatasetSplit) -> Split:
    if not len(split.labels):
        return split
    chunks = [Chunk(indices=part) for part in torch.split(torch.arange(len(split.labels)), 1024)]
    return TensorSplit(images=torch.cat(list(split.stream(chunks))), labels=split.labels)


def _finish(
    request: _Request,
    num_classes: int,
    train: Split,
    test: Split,
    size: tuple[int, int],
    augmentation: Augmentation,
) -> Data:
    return split_data(
        request.spec,
        num_classes,
        train,
        test,
        input_shape=(3, *size),
        augmentation=augmentation,
        heldout=request.heldout,
        seed=request.seed,
    )


LOADERS: Mapping[str, Callable[[_Request], Data]] = {
    "digits": _digits,
    "cifar10": _cifar,
    "cifar100": _cifar,
    "tiny-imagenet": _tiny_imagenet,
    "imagefolder": _folder,
}
