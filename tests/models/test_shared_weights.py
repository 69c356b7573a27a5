"""The real ResNets are as accurate on real images as published; skipped where these are not at hand.

Set TAILOR_DATA to the folder that holds `cifar10-jpeg.tar.xz` and the weights.
"""

import os
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from tailor.models import load_model
from tailor.training import accuracy
from tailor.training.data import NORMALIZATIONS
from tailor.training.decode import to_tensor

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TAILOR_DATA", CHECKOUT.parent / "shared" / "data"))
ARCHIVE = FOLDER / "cifar10-jpeg.tar.xz"

pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"no {ARCHIVE}; set TAILOR_DATA to the data's folder")


@pytest.fixture(scope="module")
def cifar_test_split():
    """All 10 000 test images, uint8 [10000, 3, 32, 32], and their classes, straight from the archive."""
    found = []
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            parts = member.name.split("/")
            if "test" in parts and member.isfile():
                found.append((parts[-2], to_tensor(Image.open(archive.extractfile(member)))))
    classes = sorted({name for name, _ in found})
    return torch.stack([image for _, image in found]), torch.tensor([classes.index(name) for name, _ in found])


def top1(depth, images, labels):
    model = load_model(f"tailor/resnet{depth}-cifar10", weights=FOLDER / f"resnet{depth}-cifar10.safetensors")
    batches = zip(NORMALIZATIONS["imagenet"](images).split(250), labels.split(250), strict=True)
    return accuracy(model, batches)


# The published 87.93 % and 89.79 % hold for all 10 000 images and were measured so once; every tenth image keeps the
# test short, and its own exact accuracy is as sharp a check: an error in shortcut, order or normalisation moves it.
@pytest.mark.parametrize(("depth", "sampled"), [(20, 0.867), (56, 0.898)])
def test_the_networks_are_the_ones_that_were_published(cifar_test_split, depth, sampled):
    images, labels = cifar_test_split
    assert len(images) == 10_000
    assert top1(depth, images[::10], labels[::10]) == pytest.approx(sampled, abs=0.0021)
