"""Folders of images are listed in order, decoded once, and refused with what was expected."""

import os

import pytest
import torch
from PIL import Image

from tailor.errors import DataError
from tailor.training import folders
from tailor.training.folders import image_folder, list_classes, splits_of, tiny_imagenet
from tailor.training.splits import Chunk, FileSplit, TensorSplit


def fill(folder, classes=("ant", "bee"), count=3, size=(8, 8), suffix="png"):
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", size, (10 * label + i, 0, 0)).save(folder / name / f"{i:03d}.{suffix}")


@pytest.fixture
def root(tmp_path):
    fill(tmp_path / "set" / "train")
    fill(tmp_path / "set" / "test", count=1)
    return tmp_path / "set"


def test_classes_and_files_are_in_alphabetical_order(root):
    (root / "train" / "ant" / "notes.txt").write_text("no image")
    train, test = image_folder(root)
    assert train.classes == test.classes == ("ant", "bee")
    assert [os.path.basename(path) for path in train.paths] == ["000.png", "001.png", "002.png"] * 2
    assert (train.labels, test.labels) == ((0, 0, 0, 1, 1, 1), (0, 1))


def test_val_serves_where_there_is_no_test(root):
    (root / "test").rename(root / "val")
    assert len(image_folder(root)[1].paths) == 2
    fill(root / "test", count=2)
    assert len(image_folder(root)[1].paths) == 4


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "train").rename(root / "other"), "has no train/; expected"),
        (lambda root: (root / "test").rename(root / "other"), "has no test/ or val/; expected"),
        (lambda root: (root / "test" / "bee").rename(root / "test" / "cat"), "differ in classes bee, cat"),
        (lambda root: root.rename(root.with_name("moved")), "no folder"),
        (lambda root: [p.unlink() for p in (root / "train" / "bee").iterdir()], "train/bee holds no images"),
    ],
)
def test_another_layout_is_refused(root, damage, message):
    damage(root)
    with pytest.raises(DataError, match=message) as caught:
        image_folder(root)
    assert str(root) in str(caught.value)


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no class folders; expected .*<class>"):
        list_classes(tmp_path)


def test_small_images_are_decoded_once_and_kept(root, tmp_path, monkeypatch):
    train, test, size = splits_of(*image_folder(root), None, tmp_path / "cache")
    assert isinstance(train, TensorSplit)
    assert size == (8, 8)
    assert train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert test.images[:, 0, 0, 0].tolist() == [0, 10]

    def never(*arguments):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folders, "decode_all", never)
    again, _, _ = splits_of(*image_folder(root), None, tmp_path / "cache")
    assert torch.equal(again.images, train.images)


def test_a_changed_file_is_seen_and_a_damaged_cache_replaced(root, tmp_path):
    splits_of(*image_folder(root), None, tmp_path / "cache")
    changed = root / "train" / "ant" / "001.png"
    Image.new("RGB", (8, 8), (99, 0, 0)).save(changed)
    os.utime(changed, (1, 1))
    assert splits_of(*image_folder(root), None, tmp_path / "cache")[0].images[1, 0, 0, 0] == 99
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    assert splits_of(*image_folder(root), None, tmp_path / "cache")[0].images[1, 0, 0, 0] == 99
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_large_or_uneven_images_stay_files(tmp_path):
    fill(tmp_path / "a" / "train", size=(120, 100), suffix="jpg")
    fill(tmp_path / "a" / "test", size=(120, 100), suffix="jpg")
    train, _, size = splits_of(*image_folder(tmp_path / "a"), None, tmp_path / "cache")
    assert isinstance(train, FileSplit)
    assert size == (224, 224)
    assert next(train.stream([Chunk(indices=torch.tensor([0, 5]))])).shape == (2, 3, 224, 224)
    small, _, size = splits_of(*image_folder(tmp_path / "a"), 32, tmp_path / "cache")
    assert isinstance(small, TensorSplit)
    assert small.images.shape == (6, 3, 32, 32)


@pytest.fixture
def tiny(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for wnid in ("n01", "n02"):
        fill(root / "train" / wnid, classes=("images",), suffix="JPEG")
    fill(root / "val", classes=("images",), suffix="JPEG")
    rows = ["000.JPEG\tn02\t0\t0\t62\t62", "001.JPEG\tn01\t0\t0\t62\t62"]
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return root


def test_tiny_imagenet_has_its_own_layout(tiny):
    train, test = tiny_imagenet(tiny)
    assert train.labels == (0, 0, 0, 1, 1, 1)
    assert [(os.path.basename(path), label) for path, label in zip(test.paths, test.labels, strict=True)] == [
        ("000.JPEG", 1),
        ("001.JPEG", 0),
    ]


def test_an_unknown_class_or_a_missing_file_in_tiny_imagenet_is_refused(tiny):
    (tiny / "val" / "val_annotations.txt").write_text("000.JPEG\tn99\n")
    with pytest.raises(DataError, match="without a known class"):
        tiny_imagenet(tiny)
    (tiny / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataError, match="is not Tiny ImageNet; expected"):
        tiny_imagenet(tiny)
