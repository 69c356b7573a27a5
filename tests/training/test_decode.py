"""Image files become uint8 tensors of the size asked for; damaged ones are named."""

import numpy as np
import pytest
import torch
from PIL import Image

from tailor.errors import DataError
from tailor.training.decode import decode_all, image_size, load_crop, load_image, to_tensor


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png", torch.from_numpy(pixels).permute(2, 0, 1)


def test_an_image_of_the_right_size_is_read_bit_by_bit(picture):
    path, pixels = picture
    assert image_size(path) == (20, 30)
    assert torch.equal(load_image(path, 20, 30), pixels)


def test_another_size_is_scaled_to_cover_and_cut_to_the_centre(tmp_path):
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:60] = 200  # the centre square
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    centre = load_image(tmp_path / "wide.png", 20, 20)
    assert centre.shape == (3, 20, 20)
    assert (centre[:, :, 1:-1] == 200).all()
    with_margin = load_image(tmp_path / "wide.png", 20, 20, margin=2.0)
    assert (with_margin == 200).all()


def test_random_crops_follow_their_seed(picture):
    path, _ = picture
    one, same, other = (load_crop(path, 16, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 16, 16)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_very_long_image_still_gives_a_crop(tmp_path):
    Image.new("RGB", (400, 2), (7, 8, 9)).save(tmp_path / "long.png")
    crop = load_crop(tmp_path / "long.png", 8, np.random.default_rng(0))
    assert crop.flatten(1).float().mean(1).tolist() == [7, 8, 9]


def test_grey_and_transparent_images_become_rgb(tmp_path):
    for mode in ("L", "LA", "P", "RGBA", "1"):
        Image.new(mode, (4, 4)).save(tmp_path / "x.png")
        assert load_image(tmp_path / "x.png", 4, 4).shape == (3, 4, 4)


def test_decoding_all_keeps_the_order(tmp_path):
    paths = []
    for shade in range(40):
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
        paths.append(str(tmp_path / f"{shade}.png"))
    images = decode_all(paths, 4, 4)
    assert images.shape == (40, 3, 4, 4)
    assert images[:, 0, 0, 0].tolist() == list(range(40))


def test_damaged_files_are_named(tmp_path, picture):
    whole = picture[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"cut\.png is damaged"):
        load_image(tmp_path / "cut.png", 4, 4)
    for read in (image_size, lambda path: decode_all([str(path)], 4, 4)):
        with pytest.raises(DataError, match=r"text\.png is no readable image"):
            read(tmp_path / "text.png")


def test_tensors_pass_and_other_things_do_not():
    assert to_tensor(torch.zeros(1, 2, 2)).shape == (3, 2, 2)
    assert to_tensor(torch.zeros(3, 2, 2, dtype=torch.uint8)).dtype == torch.uint8
    for wrong in (torch.zeros(2, 2), torch.zeros(3, 2, 2, dtype=torch.int64), "image"):
        with pytest.raises(DataError, match="an image must be"):
            to_tensor(wrong)
