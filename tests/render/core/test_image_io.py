"""Image files: what is written is read back, and what cannot be read says why."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from render.core.image_io import ImageError, encode_image, read_image, read_values, write_image, write_values


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


@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_two_channels_are_written_with_a_third_of_zeros(tmp_path, suffix):
    image = gradient_image(3, np.uint8)[..., :2]
    write_image(tmp_path / f"image{suffix}", image)
    back = read_image(tmp_path / f"image{suffix}")
    assert np.array_equal(back[..., :2], image)
    assert not back[..., 2].any()


def test_one_channel_of_an_exr_comes_back_as_one(tmp_path):
    image = np.random.default_rng(0).random((5, 7, 1)).astype(np.float32) * 100
    write_image(tmp_path / "image.exr", image)
    assert np.array_equal(read_image(tmp_path / "image.exr"), image)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_read_as_shares_of_their_largest(tmp_path, dtype, largest):
    image = np.array([[[0], [1], [largest]]], dtype)
    write_image(tmp_path / "image.png", image)
    values = read_values(tmp_path / "image.png")
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.ravel(), [0, 1 / largest, 1], rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
def test_every_integer_survives_reading_and_writing(tmp_path, bits):
    image = np.arange(2**bits).reshape(16, -1, 1).astype(np.uint8 if bits == 8 else np.uint16)
    write_image(tmp_path / "image.png", image)
    write_values(tmp_path / "again.png", read_values(tmp_path / "image.png"), bits)
    assert np.array_equal(read_image(tmp_path / "again.png"), image)


def test_values_are_rounded_clamped_and_never_wrapped(tmp_path):
    values = np.array([[[-1.0], [0.499 / 255], [0.501 / 255], [1.01], [np.inf], [-np.inf], [np.nan]]])
    write_values(tmp_path / "image.png", values)
    assert read_image(tmp_path / "image.png").ravel().tolist() == [0, 0, 1, 255, 255, 0, 0]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 5), (0, 4, 3), (4, 4, 0), (1, 4, 4, 3)])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(ImageError, match=r"an image is \[H, W, C\] with 1 to 4 channels"):
        encode_image(".png", np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("suffix", "image", "message"),
    [
        (".hdr", np.zeros((2, 2, 4), np.float32), r"hdr file has no alpha: write \.exr"),
        (".jpg", np.zeros((2, 2, 3), np.uint16), "16 bits are written as .png only"),
        (".xyz", np.zeros((2, 2, 3), np.uint8), r"cannot write images as \.xyz: use \.png"),
        ("", np.zeros((2, 2, 3), np.uint8), "a file without an ending"),
    ],
)
def test_what_a_type_cannot_hold_is_refused(suffix, image, message):
    with pytest.raises(ImageError, match=message):
        encode_image(suffix, image)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"cannot write .*gone.*image\.png: No such file"):
        write_image(tmp_path / "gone" / "image.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ImageError, match="there is no image file"):
        read_image(tmp_path)


def test_an_opencv_that_lacks_a_type_of_file_is_named(monkeypatch):
    def refuse(*_arguments):
        raise cv2.error("could not find encoder")

    monkeypatch.setattr(cv2, "imencode", refuse)
    with pytest.raises(ImageError, match=r"OpenCV .* was built without"):
        encode_image(".exr", np.zeros((2, 2, 3), np.float32))
