"""Image files: what is written is read back, and what cannot be read says why."""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from render.core import image_io
from render.core.image_io import (
    ImageError,
    decode_image,
    encode_image,
    read_image,
    read_values,
    write_image,
    write_values,
)


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


def test_a_type_of_file_that_openimageio_lacks_is_named(monkeypatch):
    monkeypatch.setattr(image_io.oiio.ImageOutput, "create", lambda _path: None)
    with pytest.raises(ImageError, match=r"cannot write images as \.exr: OpenImageIO 3\..* was built without them"):
        encode_image(".exr", np.zeros((2, 2, 3), np.float32))


def test_the_same_pixels_give_the_same_bytes():
    image = gradient_image(3, np.uint8)
    before = {suffix: encode_image(suffix, image) for suffix in (".png", ".hdr", ".exr")}
    time.sleep(1.1)  # EXR files tell their second
    assert {suffix: encode_image(suffix, image) for suffix in before} == before


def test_an_exr_keeps_its_floats_and_channel_names(tmp_path):
    write_image(tmp_path / "image.exr", np.full((5, 7, 4), 0.1, np.float32))
    source = image_io.oiio.ImageInput.open(str(tmp_path / "image.exr"))
    assert str(source.spec().format) == "float"
    assert source.spec().channelnames == ("R", "G", "B", "A")
    assert source.spec().getattribute("compression") == "zip"
    source.close()


def test_negative_values_become_zero_in_hdr(tmp_path):
    write_image(tmp_path / "image.hdr", np.array([[[-0.5, 1.0, -3.0], [-1.0, -1.0, -1.0]]], np.float32))
    assert np.array_equal(read_image(tmp_path / "image.hdr"), [[[0, 1, 0], [0, 0, 0]]])


def test_one_channel_of_an_hdr_comes_back_as_three(tmp_path):
    write_image(tmp_path / "image.hdr", np.full((2, 2, 1), 0.5, np.float32))
    assert np.array_equal(read_image(tmp_path / "image.hdr"), np.full((2, 2, 3), 0.5))


@pytest.mark.parametrize(("suffix", "channels"), [(".tif", 4), (".tiff", 1), (".bmp", 3), (".webp", 4), (".webp", 3)])
def test_other_types_without_loss_come_back_as_they_were(tmp_path, suffix, channels):
    image = gradient_image(channels, np.uint8)
    write_image(tmp_path / f"image{suffix}", image)
    assert np.array_equal(read_image(tmp_path / f"image{suffix}"), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_comes_back_nearly(channels):
    image = np.full((16, 16, channels), 77, np.uint8)
    back = decode_image(encode_image(".jpg", image))
    assert back.shape == image.shape
    assert abs(back.astype(int) - image).max() <= 2


def pillow_file(image: PIL.Image.Image, suffix: str, **options: object) -> np.ndarray:
    """What `decode_image` makes of a file that Pillow wrote."""
    with io.BytesIO() as file:
        image.save(file, suffix, **options)
        return decode_image(file.getvalue())


def test_alpha_never_changes_the_color():
    rgba = np.dstack([gradient_image(3, np.uint8), np.arange(35, dtype=np.uint8).reshape(5, 7)])
    picture = PIL.Image.fromarray(rgba)
    assert np.array_equal(pillow_file(picture, "png"), rgba)
    assert np.array_equal(pillow_file(picture, "tiff"), rgba)
    grey = pillow_file(PIL.Image.fromarray(rgba[..., [0, 3]]), "png")
    assert np.array_equal(grey, rgba[..., [0, 0, 0, 3]])


def test_palettes_and_bits_become_bytes():
    rgb = gradient_image(3, np.uint8)
    palette = PIL.Image.fromarray(rgb).quantize(16)
    assert np.array_equal(pillow_file(palette, "png"), np.asarray(palette.convert("RGB")))
    assert pillow_file(palette, "png", transparency=3).shape == (5, 7, 4)
    bits = PIL.Image.fromarray(rgb[..., 0] > 20)
    assert np.array_equal(pillow_file(bits, "png")[..., 0], np.asarray(bits) * 255)


def test_a_jpeg_is_not_turned_and_its_inks_become_colors():
    rgb = np.zeros((16, 32, 3), np.uint8)
    rgb[:, :16] = (200, 100, 50)
    turned = PIL.Image.Exif()
    turned[0x112] = 6
    for options in ({"exif": turned}, {}):
        back = pillow_file(PIL.Image.fromarray(rgb), "jpeg", quality=95, **options)
        assert abs(back.astype(int) - rgb).max() <= 40
    inks = pillow_file(PIL.Image.fromarray(rgb).convert("CMYK"), "jpeg", quality=95)
    assert abs(inks.astype(int) - rgb).max() <= 40


@pytest.mark.parametrize("suffix", ["jpeg2000", "gif"])
def test_jpeg_2000_and_gif_are_read(tmp_path, suffix):
    rgb = np.full((5, 7, 3), (200, 100, 50), np.uint8)
    # OpenImageIO 3.2 knows GIF, and gives it an alpha.
    assert np.array_equal(pillow_file(PIL.Image.fromarray(rgb), suffix)[..., :3], rgb)
    PIL.Image.fromarray(rgb).save(tmp_path / "image.png", suffix)  # the content counts, not the ending
    assert np.array_equal(read_image(tmp_path / "image.png")[..., :3], rgb)


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("R", "G", "B", "A", "Z"), [0, 1, 2, 3]),
        (("R", "G", "B", "normal.X", "normal.Y"), [0, 1, 2]),
        (("V",), [0]),
        (("Y", "A"), [0, 0, 0, 1]),
        (("A", "B", "G", "R"), [3, 2, 1, 0]),
    ],
)
def test_an_exr_is_read_by_the_names_of_its_channels(tmp_path, names, places):
    image = np.random.default_rng(0).random((5, 7, len(names)), np.float32)
    write_exr(tmp_path / "image.exr", image, names)
    assert np.array_equal(read_image(tmp_path / "image.exr"), image[..., places])


def test_missing_colors_of_an_exr_are_zero(tmp_path):
    write_exr(tmp_path / "image.exr", np.ones((2, 2, 1), np.float32), ("G",))
    assert np.array_equal(read_image(tmp_path / "image.exr"), np.full((2, 2, 3), (0, 1, 0)))


@pytest.mark.parametrize(("kind", "dtype"), [("half", np.float16), ("uint", np.uint32)])
def test_other_numbers_of_an_exr_become_floats_as_they_are(tmp_path, kind, dtype):
    image = (np.arange(6).reshape(1, 2, 3) * 100).astype(dtype)
    write_exr(tmp_path / "image.exr", image, ("R", "G", "B"), kind)
    back = read_image(tmp_path / "image.exr")
    assert back.dtype == np.float32
    assert np.array_equal(back, image)


def test_layers_of_an_exr_are_refused(tmp_path):
    write_exr(tmp_path / "image.exr", np.ones((2, 2, 2), np.float32), ("left.R", "right.R"))
    with pytest.raises(ImageError, match=r"image\.exr has the channels left\.R, right\.R: save it with R, G and B"):
        read_image(tmp_path / "image.exr")


def write_exr(path: Path, image: np.ndarray, names: tuple[str, ...], kind: str = "float") -> None:
    """An EXR file with channels of any names and any kind of numbers."""
    spec = image_io.oiio.ImageSpec(image.shape[1], image.shape[0], len(names), kind)
    spec.channelnames = names
    target = image_io.oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec)
    assert target.write_image(image)
    assert target.close()


@pytest.mark.parametrize(
    "start", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"v/1\x01", b"#?RADIANCE\n", b"GIF89a"]
)
def test_broken_files_are_refused(start):
    for seed in range(20):
        with pytest.raises(ImageError, match="the image is not an image this can read"):
            decode_image(start + np.random.default_rng(seed).bytes(200))


def test_bytes_are_taken_as_an_array_too():
    image = gradient_image(3, np.uint16)
    data = np.frombuffer(encode_image(".png", image), np.uint8)
    assert np.array_equal(decode_image(data), image)
    assert np.array_equal(decode_image(np.repeat(data, 2)[::2]), image)


def test_no_temporary_file_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    decode_image(encode_image(".png", gradient_image(3, np.uint8)))
    with pytest.raises(ImageError):
        decode_image(b"no image")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ImageError, match=r"a temporary file cannot be written .*set TMPDIR"):
        encode_image(".png", gradient_image(3, np.uint8))


def test_an_exception_of_the_library_means_no_image(monkeypatch):
    def fail(*_arguments: object) -> None:
        raise ValueError("vector::_M_default_append")

    monkeypatch.setattr(image_io.oiio.ImageInput, "open", fail)
    with pytest.raises(ImageError, match="the texture is not an image this can read"):
        decode_image(b"GIF89a", "the texture")
