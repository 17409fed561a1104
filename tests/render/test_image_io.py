"""Image files: what is written is read back, and what cannot be read says why."""

from __future__ import annotations

import numpy as np
import pytest

from render.image_io import ImageError, encode_image, read_image, write_image


def gradient_image(channels: int, dtype: type[np.generic]) -> np.ndarray:
    """Every channel different, so that a swap shows."""
    rows, columns = np.mgrid[0:5, 0:7]
    planes = [rows * 7 + columns + 50 * channel for channel in range(channels)]
    scale = 255 if dtype is np.uint16 else 1
    return (np.stack(planes, -1) * scale).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_comes_back_as_it_was(tmp_path, channels, dtype):
    image = gradient_image(channels, dtype)
    write_image(tmp_path / "image.png", image)
    back = read_image(tmp_path / "image.png")
    assert back.dtype == dtype
    assert np.array_equal(back, image)


@pytest.mark.parametrize("channels", [3, 4])
def test_exr_comes_back_to_the_last_bit(tmp_path, channels):
    image = np.random.default_rng(0).random((5, 7, channels)).astype(np.float32) * 100
    write_image(tmp_path / "image.exr", image)
    assert np.array_equal(read_image(tmp_path / "image.exr"), image)


def test_hdr_comes_back_to_its_shared_exponent(tmp_path):
    image = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32) * 100
    write_image(tmp_path / "image.hdr", image)
    back = read_image(tmp_path / "image.hdr")
    assert back.dtype == np.float32
    assert (abs(back - image) <= image.max(-1, keepdims=True) / 128).all()
    assert not np.array_equal(back[..., 0], back[..., 2])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"no image file .*gone\.png: check the path"):
        read_image(tmp_path / "gone.png")


def test_a_file_that_is_no_image_is_named_with_a_cure(tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ImageError, match=r"notes\.png is not an image .* use PNG, HDR or EXR"):
        read_image(tmp_path / "notes.png")


def test_floats_are_refused_for_png():
    with pytest.raises(ImageError, match="8 or 16-bit integers, not float32"):
        encode_image(".png", np.zeros((2, 2, 3), np.float32))
