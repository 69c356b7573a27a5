"""Batch augmentation equals the plain loop over images, and only ever shifts and mirrors."""

import pytest
import torch
import torch.nn.functional as F

from tailor.training.augment import Augmentation


def images(count=16, height=6, width=9, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(1, 255, (count, 3, height, width), generator=generator).to(dtype)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def slow(batch, pad, flip, generator):
    count, _, height, width = batch.shape
    tops, lefts = torch.randint(0, 2 * pad + 1, (2, count), generator=generator).tolist() if pad else ([0] * count,) * 2
    mirrored = (torch.rand(count, generator=generator) < 0.5).tolist() if flip else [False] * count
    out = []
    for image, top, left, mirror in zip(batch, tops, lefts, mirrored, strict=True):
        crop = F.pad(image, (pad,) * 4)[:, top : top + height, left : left + width]
        out.append(crop.flip(2) if mirror else crop)
    return torch.stack(out)


@pytest.mark.parametrize("pad", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_batch_formulation_equals_the_loop(pad, flip, dtype):
    batch = images(dtype=dtype)
    fast = Augmentation(pad=pad, flip=flip)(batch, seeded(1))
    assert fast.dtype == dtype
    assert torch.equal(fast, slow(batch, pad, flip, seeded(1)))


def test_without_options_nothing_changes():
    assert torch.equal(Augmentation()(images(), seeded(0)), images())


def test_every_shift_and_both_mirrors_occur():
    dot = torch.zeros(4000, 1, 5, 5)
    dot[:, :, 2, 2] = 1
    shifted = Augmentation(pad=2)(dot, seeded(0))
    assert (shifted.sum(0)[0] > 100).all()
    column = torch.zeros(1000, 1, 2, 2)
    column[..., 0] = 1
    mirrored = Augmentation(flip=True)(column, seeded(0))[:, 0, 0, 1].sum()
    assert 400 < mirrored < 600


def test_the_input_is_left_alone_and_the_seed_decides():
    batch = images()
    augment = Augmentation(pad=2, flip=True)
    first, second, third = (augment(batch, seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(batch, images())
