"""Textures in files: levels, bits, channels, and what is said when a file will not do."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from render.core.image_io import ImageError, read_image, write_image
from render.texture.texture import Texture2D, load_texture2D, save_texture2D


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "bits", "tolerance"), [("a.png", 8, 0.5001 / 255), ("a.png", 16, 0.5001 / 65535), ("a.exr", 8, 0)]
)
def test_one_level_comes_back(tmp_path, name, bits, tolerance, channels):
    texture = Texture2D(rand(5, 7, channels))
    save_texture2D(tmp_path / name, texture, bits=bits)
    back = load_texture2D(tmp_path / name, channels=channels, min_max=(0.0, 1.0))
    torch.testing.assert_close(back.data, texture.data, rtol=0, atol=tolerance)
    assert back.min_max is not None
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_custom_levels_are_numbered_files(tmp_path, suffix):
    levels = [rand(4, 6, 3), rand(2, 3, 3, seed=1), rand(1, 1, 3, seed=2)]
    save_texture2D(tmp_path / f"wood{suffix}", Texture2D(levels), bits=16)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"wood_{number}{suffix}" for number in range(3)]
    back = load_texture2D(str(tmp_path / f"wood{suffix}"))
    for level, expected in zip(back.mips, levels, strict=True):
        torch.testing.assert_close(level[0].detach(), expected, rtol=0, atol=1e-5)


def test_the_file_asked_for_comes_before_numbered_ones(tmp_path):
    save_texture2D(tmp_path / "a.png", Texture2D(torch.full((2, 2, 3), 1.0)))
    save_texture2D(tmp_path / "a_0.png", Texture2D(torch.zeros(2, 2, 3)))
    assert float(load_texture2D(tmp_path / "a.png").data.detach().min()) == 1


@pytest.mark.parametrize("stale", ["a.png", "a_2.png"])
def test_levels_are_not_written_beside_files_that_would_be_read_with_them(tmp_path, stale):
    save_texture2D(tmp_path / stale, Texture2D([0.5, 0.5, 0.5]))
    levels = Texture2D([rand(4, 4, 3), rand(2, 2, 3)])
    with pytest.raises(ImageError, match=rf"{stale} would be read as part of the levels of .*a\.png: remove it"):
        save_texture2D(tmp_path / "a.png", levels)
    assert [path.name for path in tmp_path.iterdir()] == [stale]


def test_saving_again_overwrites(tmp_path):
    for value in (0.25, 1.0):
        save_texture2D(tmp_path / "a.png", Texture2D([value]))
        save_texture2D(tmp_path / "b.png", Texture2D([torch.full((2, 2, 1), value), torch.full((1, 1, 1), value)]))
    assert float(load_texture2D(tmp_path / "a.png").data.detach()) == 1
    assert float(load_texture2D(tmp_path / "b.png").mips[1].detach()) == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_values_outside_the_range_of_a_png_are_clamped_and_not_wrapped(tmp_path, bits):
    texture = Texture2D(torch.tensor([[[-0.2], [1.004], [3.0], [0.4999]]]))
    with torch.no_grad():
        texture.data[0, 0, 2, 0] = float("inf")
    save_texture2D(tmp_path / "a.png", texture, bits=bits)
    largest = 2**bits - 1
    assert read_image(tmp_path / "a.png").ravel().tolist() == [0, largest, largest, round(0.4999 * largest)]


def test_transforms_meet_each_level(tmp_path):
    normals = Texture2D([rand(4, 4, 3) * 2 - 1, rand(2, 2, 3) * 2 - 1])
    save_texture2D(tmp_path / "n.png", normals, lambda x: x * 0.5 + 0.5, bits=16)
    back = load_texture2D(tmp_path / "n.png", lambda x: x * 2 - 1)
    for level, expected in zip(back.mips, normals.mips, strict=True):
        torch.testing.assert_close(level, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("stored", "asked"), [(1, 3), (1, 4), (3, 4), (3, 1), (4, 3), (4, 2)])
def test_missing_channels_are_grey_and_opaque_and_others_are_dropped(tmp_path, stored, asked):
    image = (np.arange(24).reshape(2, 3, 4)[..., :stored] * 10).astype(np.uint8)
    write_image(tmp_path / "a.png", image)
    back = load_texture2D(tmp_path / "a.png", channels=asked).data[0].detach() * 255
    wide = np.repeat(image, 3, -1) if stored == 1 else image
    if asked == 4:
        wide = np.concatenate([wide[..., :3], np.full((2, 3, 1), 255, np.uint8)], -1)
    np.testing.assert_allclose(back.numpy(), wide[..., :asked], atol=1e-4)


def test_what_cannot_be_loaded_says_why(tmp_path):
    with pytest.raises(ImageError, match=r"no image file .*gone\.png: check the path"):
        load_texture2D(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match=r"text\.png is not an image"):
        load_texture2D(tmp_path / "text.png")
    write_image(tmp_path / "grey.png", np.zeros((2, 2, 1), np.uint8))
    with pytest.raises(ImageError, match=r"grey\.png has 1 channels, not 2"):
        load_texture2D(tmp_path / "grey.png", channels=2)
    with pytest.raises(ValueError, match="one or more channels, not 0"):
        load_texture2D(tmp_path / "grey.png", channels=0)
    for number in (0, 1):
        write_image(tmp_path / f"same_{number}.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="half the size"):
        load_texture2D(tmp_path / "same.png")


def test_what_cannot_be_saved_says_why(tmp_path):
    with pytest.raises(ImageError, match=r"1 to 4 channels .* not \[1, 1, 9\]"):
        save_texture2D(tmp_path / "a.png", Texture2D(torch.zeros(9)))
    with pytest.raises(ImageError, match="hdr file has no alpha"):
        save_texture2D(tmp_path / "a.hdr", Texture2D(torch.zeros(4)))
    with pytest.raises(ImageError, match=r"cannot write images as \.xyz: use \.png"):
        save_texture2D(tmp_path / "a.xyz", Texture2D(torch.zeros(3)))
    with pytest.raises(ImageError, match="8 or 16 bits a channel, not 12"):
        save_texture2D(tmp_path / "a.png", Texture2D(torch.zeros(3)), bits=12)
    with pytest.raises(ImageError, match=r"cannot write .*gone.*: No such file or directory; check the folder"):
        save_texture2D(tmp_path / "gone" / "a.png", Texture2D(torch.zeros(3)))
    assert os.listdir(tmp_path) == []
