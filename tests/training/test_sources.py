"""A data specification gives its data, or an error that says what was expected."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from tailor.errors import DataError, InvalidOptionError, UnknownNameError
from tailor.training import Data, load_data, sources
from tailor.training.data import NORMALIZATIONS
from tailor.training.splits import DatasetSplit, TensorSplit


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for i in range(10):
                Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "set" / part / name / f"{i}.png")
    return tmp_path / "set"


def test_digits_are_built_in_and_their_test_images_never_change():
    one, other = load_data("digits", seed=1), load_data("digits", seed=2)
    assert (one.num_classes, one.input_shape) == (10, (3, 32, 32))
    assert not one.augmentation.flip
    assert sum(one.count(split) for split in ("train", "heldout", "test")) == 1797
    assert one.heldout.labels.bincount().min() > 10
    sums = [data.test.images.flatten(1).sum(1).sort().values for data in (one, other)]
    assert torch.equal(sums[0], sums[1])
    held = [data.heldout.images.flatten(1).sum(1).sort().values for data in (one, other)]
    assert not torch.equal(held[0], held[1])


def test_digits_look_like_the_original():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    shrunk = torch.nn.functional.avg_pool2d(data.test.images.float(), 4)[:, 0] / 255 * 16
    originals = torch.from_numpy(load_digits().images).float()
    distances = torch.cdist(shrunk.flatten(1), originals.flatten(1))
    assert (torch.from_numpy(load_digits().target)[distances.argmin(1)] == data.test.labels).all()


def test_an_image_folder_with_options_in_the_text(folder, tmp_path):
    data = load_data(f"imagefolder:{folder}?normalize=cifar&size=16", cache=tmp_path / "cache", batch_size=3)
    assert (data.num_classes, data.input_shape, data.batch_size) == (2, (3, 16, 16), 3)
    assert data.normalization == NORMALIZATIONS["cifar"]
    assert data.augmentation.flip
    assert load_data(f"imagefolder:{folder}", cache=tmp_path / "cache").normalization == NORMALIZATIONS["imagenet"]
    plain = load_data(f"imagefolder:{folder}", cache=tmp_path / "cache", normalize="none")
    images, _ = next(plain.batches("test"))
    assert torch.allclose(images[:, 0, 0, 0].sort().values, torch.arange(10).repeat_interleave(2) / 255)


COUNT = 200  # images in each planted CIFAR file


@pytest.mark.parametrize(("name", "classes", "key"), [("cifar10", 10, "labels"), ("cifar100", 100, "fine_labels")])
def test_cifar_is_read_in_torchvisions_format(tmp_path, monkeypatch, name, classes, key):
    from torchvision import datasets

    kind = getattr(datasets, name.upper())
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr(kind, "_load_meta", lambda self: setattr(self, "classes", [str(i) for i in range(classes)]))
    random = np.random.default_rng(0)
    (tmp_path / kind.base_folder).mkdir()
    for file, _ in kind.train_list + kind.test_list:
        pixels = random.integers(0, 255, (COUNT, 3072), dtype=np.uint8)
        content = {"data": pixels, key: [i % classes for i in range(COUNT)]}
        (tmp_path / kind.base_folder / file).write_bytes(pickle.dumps(content))
    data = load_data(f"{name}:{tmp_path}")
    assert (data.num_classes, data.input_shape, data.count("test")) == (classes, (3, 32, 32), COUNT)
    assert data.augmentation == sources.SHIFT_AND_FLIP
    # the test file is the last one written; each image has its red, green and blue plane one after the other
    stored = {tuple(row) for row in pixels.tolist()}
    assert {tuple(image) for image in data.test.images.flatten(1).tolist()} == stored


def test_a_missing_cifar_that_cannot_be_downloaded_is_a_data_error(tmp_path, monkeypatch):
    def offline(kind, root, *, train):
        raise OSError("no route to host")

    monkeypatch.setattr(sources, "_read_or_download", offline)
    message = r"cifar10 is not in .* could not be downloaded \(no route to host\); put cifar-10"
    with pytest.raises(DataError, match=message):
        load_data(f"cifar10:{tmp_path}")


FACTORY = """
import torch
from torch.utils.data import TensorDataset
from tailor.training import load_data

def small():
    images = torch.randint(0, 255, (40, 3, 8, 8), dtype=torch.uint8)
    return TensorDataset(images, torch.arange(40) % 4), TensorDataset(images[:8], torch.arange(8) % 4)

def floats():
    images = torch.randn(40, 3, 8, 8)
    return TensorDataset(images, torch.arange(40) % 4), TensorDataset(images[:8], torch.arange(8) % 4)

def own():
    return load_data("digits", normalize="none", batch_size=7)

def wrong():
    return 3

def empty():
    return [], []
"""


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "sets.py").write_text(FACTORY)
    return f"{tmp_path}/sets.py"


def test_a_function_may_return_two_datasets(factory):
    data = load_data(f"{factory}:small")
    assert isinstance(data.train, TensorSplit)
    assert (data.num_classes, data.input_shape, data.count("train"), data.count("heldout")) == (4, (3, 8, 8), 36, 4)
    floats = load_data(f"{factory}:floats")
    assert isinstance(floats.train, DatasetSplit)
    images, labels = next(floats.batches("test"))
    assert images.min() < 0
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_function_may_return_data_of_its_own(factory):
    data = load_data(f"{factory}:own", batch_size=64)
    assert isinstance(data, Data)
    assert (data.batch_size, data.normalization) == (7, NORMALIZATIONS["none"])


@pytest.mark.parametrize(("function", "message"), [("wrong", "not int"), ("empty", "training set is empty")])
def test_other_results_are_refused(factory, function, message):
    with pytest.raises(DataError, match=message):
        load_data(f"{factory}:{function}")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("cifar11", UnknownNameError, r"no data set 'cifar11'; did you mean 'cifar10'\?"),
        ("mnist", UnknownNameError, "give digits, cifar10"),
        ("imagefolder", InvalidOptionError, "needs a folder: give imagefolder:PATH"),
        ("tiny-imagenet:", InvalidOptionError, "give tiny-imagenet:PATH"),
        ("digits:/data", InvalidOptionError, "take no folder"),
        ("imagefolder:/no/such/folder", DataError, "no folder /no/such/folder; expected"),
        ("tiny-imagenet:/no/such/folder", DataError, "/no/such/folder is not Tiny ImageNet"),
        ("digits?size=0", InvalidOptionError, "'0' is not a positive number"),
        ("digits?size=big", InvalidOptionError, "'big' is not a positive number"),
        ("digits?normalize=mnist", UnknownNameError, "no normalisation 'mnist'; known are imagenet, cifar, none"),
        ("digits?crop=3", InvalidOptionError, "data option 'crop'"),
        ("cifar10?size=64", InvalidOptionError, "32 pixels wide, not 64"),
        ("nowhere.py:data", UnknownNameError, r"no file 'nowhere\.py'"),
    ],
)
def test_senseless_specifications_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        load_data(spec)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_senseless_held_out_share_is_refused(share):
    with pytest.raises(InvalidOptionError, match="between 0 and 1"):
        load_data("digits", heldout=share)
