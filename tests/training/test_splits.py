"""The three kinds of splits stream what was asked for, in that order; the stratified share is exact per class."""

import numpy as np
import pytest
import torch
from PIL import Image

from tailor.errors import DataError
from tailor.training.splits import Chunk, DatasetSplit, FileSplit, TensorSplit, stratified

COUNT = 12


class Noisy:
    """Eight-pixel images of their own index, plus noise from torch's global generator when asked."""

    def __init__(self, noise=False):
        self.noise = noise

    def __len__(self):
        return COUNT

    def __getitem__(self, i):
        image = torch.full((3, 8, 8), float(i))
        return (image + torch.rand(1) if self.noise else image), i % 3


@pytest.fixture(params=["tensor", "file", "dataset"])
def split(request, tmp_path):
    labels = torch.arange(COUNT) % 3
    if request.param == "tensor":
        return TensorSplit(images=torch.arange(COUNT).view(-1, 1, 1, 1).expand(-1, 3, 8, 8), labels=labels)
    if request.param == "dataset":
        return DatasetSplit(dataset=Noisy(), positions=torch.arange(COUNT), labels=labels)
    paths = []
    for shade in range(COUNT):
        Image.new("RGB", (8, 8), (shade,) * 3).save(tmp_path / f"{shade}.png")
        paths.append(str(tmp_path / f"{shade}.png"))
    return FileSplit(paths=tuple(paths), labels=labels, side=8)


def shades(split, *chunks):
    stream = split.stream([Chunk(indices=torch.tensor(chunk)) for chunk in chunks])
    return [images[:, 0, 0, 0].int().tolist() for images in stream]


def test_chunks_come_in_order(split):
    assert shades(split, [3, 1], [0], [11, 10, 2]) == [[3, 1], [0], [11, 10, 2]]
    assert shades(split) == []


def test_a_subset_has_its_own_indices(split):
    part = split.subset(torch.tensor([5, 7, 2]))
    assert part.labels.tolist() == [2, 1, 2]
    assert shades(part, [2, 0]) == [[2, 5]]
    assert shades(part.subset(torch.tensor([1])), [0]) == [[7]]


def test_a_reader_may_stop_early(split):
    stream = split.stream([Chunk(indices=torch.tensor([i])) for i in range(COUNT)])
    assert next(stream)[0, 0, 0, 0] == 0
    stream.close()


def test_augmented_files_follow_their_seeds(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    split = FileSplit(paths=(str(tmp_path / "a.png"),), labels=torch.tensor([0]), side=16)
    one, same, other = (
        next(split.stream([Chunk(indices=torch.tensor([0]), seeds=torch.tensor([seed]))])) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_datasets_own_randomness_is_seeded_and_the_global_state_kept():
    split = DatasetSplit(dataset=Noisy(noise=True), positions=torch.arange(COUNT), labels=torch.arange(COUNT) % 3)
    state = torch.random.get_rng_state()
    one, same, other = (
        next(split.stream([Chunk(indices=torch.tensor([4, 5]), seeds=torch.tensor([seed, 9]))])) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_images_of_different_shapes_are_refused():
    images = [(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 8, 9), 0)]
    split = DatasetSplit(dataset=images, positions=torch.arange(2), labels=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match="differ in shape"):
        next(split.stream([Chunk(indices=torch.tensor([0, 1]))]))


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_the_chosen_are_the_share_of_every_class(share):
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate((40, 100, 200, 1))])
    rest, chosen = stratified(labels, share, seed=3)
    assert sorted(rest.tolist() + chosen.tolist()) == list(range(len(labels)))
    counts = [int((labels[chosen] == label).sum()) for label in range(4)]
    assert counts == [round(40 * share), 100 * share, 200 * share, 0]


def test_a_class_of_two_gives_one():
    rest, chosen = stratified(torch.tensor([0, 0, 1, 1]), 0.01, seed=0)
    assert len(rest) == len(chosen) == 2


def test_both_parts_are_shuffled_by_seed():
    labels = torch.arange(200) // 20
    first, again, other = (stratified(labels, 0.2, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    assert first[0].tolist() != sorted(first[0].tolist())
