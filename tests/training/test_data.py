"""Batches are the same for the same arguments, cover their split once, and are normalised as the network expects."""

import pickle

import pytest
import torch

from tailor.errors import DataError, InvalidOptionError
from tailor.training.augment import Augmentation
from tailor.training.data import NORMALIZATIONS, split_data
from tailor.training.splits import TensorSplit


def gathered(batches):
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_the_held_out_images_come_out_of_the_training_set_alone(corners):
    train, heldout = (gathered(corners.batches(name))[0].flatten(1) for name in ("train", "heldout"))
    assert (len(train), len(heldout), corners.count("test")) == (360, 40, 100)
    assert len(torch.cat([train, heldout]).unique(dim=0)) == 400


def test_normalisation_is_the_formula():
    pixels = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    for norm in NORMALIZATIONS.values():
        mean, std = torch.tensor(norm.mean).view(1, 3, 1, 1), torch.tensor(norm.std).view(1, 3, 1, 1)
        assert torch.allclose(norm(pixels), (pixels / 255 - mean) / std, atol=1e-5)


def test_float_images_are_taken_as_normalised():
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(NORMALIZATIONS["imagenet"](images), images.float())


def test_a_shuffled_pass_is_a_permutation_by_seed(corners):
    plain, first, again, other = (
        gathered(corners.batches("train", 50, shuffle_seed=seed))[0] for seed in (None, 1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, plain)
    assert torch.equal(first.flatten(1).sum(1).sort().values, plain.flatten(1).sum(1).sort().values)


def test_augmentation_follows_the_seed_and_labels_stay_with_their_images(corners):
    one, same, other = (list(corners.batches("train", shuffle_seed=seed, augment=True)) for seed in (3, 3, 4))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0][0], other[0][0])
    plain = list(corners.batches("train", shuffle_seed=3))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(one, plain, strict=True))
    assert not torch.equal(one[0][0], plain[0][0])


def test_every_image_keeps_its_own_label_through_shuffling_and_batching(corners):
    def pairs(seed):
        images, labels = gathered(corners.batches("train", 50, shuffle_seed=seed))
        return {(tuple(image), label) for image, label in zip(images.flatten(1).tolist(), labels.tolist(), strict=True)}

    planted = corners.normalization(corners.train.images).flatten(1).tolist()
    expected = set(zip(map(tuple, planted), corners.train.labels.tolist(), strict=True))
    assert pairs(None) == pairs(7) == expected


def test_limit_takes_the_first_images_and_incomplete_batches_can_be_dropped(corners):
    whole = gathered(corners.batches("train"))[0]
    assert torch.equal(gathered(corners.batches("train", 64, limit=100))[0], whole[:100])
    sizes = [len(labels) for _, labels in corners.batches("train", 100, drop_incomplete=True)]
    assert sizes == [100, 100, 100]
    assert [len(labels) for _, labels in corners.batches("heldout", 100, drop_incomplete=True)] == [40]


def test_limited_data_has_fewer_images_and_the_same_test(corners):
    small = corners.limited(train=30, heldout=1000)
    assert (small.count("train"), small.count("heldout"), small.count("test")) == (30, 40, 100)
    assert torch.equal(gathered(small.batches("train"))[0], gathered(corners.batches("train", limit=30))[0])


def test_data_survives_pickling(corners):
    copied = pickle.loads(pickle.dumps(corners))
    assert torch.equal(gathered(copied.batches("test"))[0], gathered(corners.batches("test"))[0])


def test_the_global_random_state_is_left_alone(corners):
    state = torch.random.get_rng_state()
    list(corners.batches("train", shuffle_seed=1, augment=True))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split 'valid' is not one of train, heldout, test"),
        ({"split": "train", "batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"split": "train", "limit": 0}, "limit must be at least 1, not 0"),
    ],
)
def test_misuse_raises_before_the_first_batch(corners, arguments, message):
    with pytest.raises(InvalidOptionError, match=message):
        corners.batches(**arguments)


@pytest.mark.parametrize(("train", "test", "share"), [(1, 5, 0.1), (20, 0, 0.1)])
def test_too_few_images_are_refused(train, test, share):
    def split(count):
        return TensorSplit(images=torch.zeros(count, 3, 4, 4, dtype=torch.uint8), labels=torch.zeros(count).long())

    with pytest.raises(DataError, match="few"):
        split_data(
            "few", 1, split(train), split(test), input_shape=(3, 4, 4), augmentation=Augmentation(), heldout=share
        )
