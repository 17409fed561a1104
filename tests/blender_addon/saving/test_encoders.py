"""Files that PBRfit encodes itself, read by OpenImageIO and by imageio: every value, the bits, and what they say of colors."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

oiio = pytest.importorskip("OpenImageIO")
SHAPES = [(1, 1), (7, 5), (300, 33), (513, 2)]


@pytest.fixture
def encoders(addon):
    return addon.saving.encoders


@pytest.fixture
def png(addon):
    return addon.protocol.png.png


def read(path: Path, data: bytes):
    """The values [H, W, C] and the spec of a file, by OpenImageIO."""
    path.write_bytes(data)
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), config)
    assert source is not None, oiio.geterror()
    spec = source.spec()
    values = np.asarray(source.read_image(str(spec.format)))
    source.close()
    return values.reshape(spec.height, spec.width, spec.nchannels), spec


def random_pixels(shape, channels, dtype) -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 2**16, (*shape, channels))
    return (values >> (16 - 8 * np.dtype(dtype).itemsize)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_png_and_tiff(encoders, png, tmp_path, shape, channels, dtype) -> None:
    pixels = random_pixels(shape, channels, dtype)
    for suffix, data in ((".png", png(pixels, False)), (".tif", encoders.tiff(pixels, channels == 4))):
        values, spec = read(tmp_path / f"map{suffix}", data)
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, pixels)
        assert spec.channelnames == {1: ("Y",), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}[channels]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_exr(encoders, tmp_path, shape, channels, dtype) -> None:
    pixels = np.random.default_rng(7).normal(0.0, 30.0, (*shape, channels)).astype(dtype)
    values, spec = read(tmp_path / "map.exr", encoders.exr(pixels))
    assert (values.dtype, spec.getattribute("compression")) == (dtype, "zip")
    np.testing.assert_array_equal(values, pixels)
    smooth = np.linspace(0.0, 1.0, 64 * 64 * channels, dtype=dtype).reshape(64, 64, channels)
    np.testing.assert_array_equal(read(tmp_path / "smooth.exr", encoders.exr(smooth))[0], smooth)
    assert len(encoders.exr(smooth)) < smooth.nbytes


def test_other_readers_agree(encoders, png, tmp_path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    pixels = random_pixels((9, 8), 4, np.uint8)
    for suffix, data in ((".png", png(pixels, True)), (".tif", encoders.tiff(pixels, True))):
        np.testing.assert_array_equal(imageio.imread(data, extension=suffix, plugin="pillow"), pixels)
    gray = random_pixels((9, 8), 1, np.uint16)
    np.testing.assert_array_equal(imageio.imread(png(gray, False), plugin="pillow"), gray[..., 0])


def chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG, whose sums are right."""
    found, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (told,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert told == zlib.crc32(name + content)
        found[name] = content
        place += 12 + length
    return found


def test_a_png_says_srgb_only_of_colors(png) -> None:
    pixels = random_pixels((4, 4), 3, np.uint8)
    assert list(chunks(png(pixels, True))) == [b"IHDR", b"sRGB", b"IDAT", b"IEND"]
    assert list(chunks(png(pixels, False))) == [b"IHDR", b"IDAT", b"IEND"]


def test_threads_change_no_byte(encoders, png) -> None:
    pixels = random_pixels((700, 64), 3, np.uint8)
    floats = pixels.astype(np.float32)
    with ThreadPoolExecutor(4) as threads:

        def run(work, numbers) -> list[bytes]:
            return list(threads.map(work, numbers))

        assert png(pixels, True, run) == png(pixels, True)
        assert encoders.tiff(pixels, False, run) == encoders.tiff(pixels, False)
        assert encoders.exr(floats, run) == encoders.exr(floats)
    # The parts make one stream, whose sum is right too.
    assert len(zlib.decompress(chunks(png(pixels, True))[b"IDAT"])) == 700 * (64 * 3 + 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_by_blender(addon, tmp_path, channels) -> None:
    encode = addon.saving.blender_encoders.encoded_by_blender
    rows, columns = np.indices((64, 64))
    pixels = np.stack([rows * 4, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)[..., :channels]
    values, spec = read(tmp_path / "map.jpg", encode(pixels, "jpeg", 100))
    assert (spec.format, spec.nchannels) == ("uint8", channels)
    assert np.abs(values.astype(int) - pixels).max() <= 6
    assert len(encode(pixels, "jpeg", 30)) < len(encode(pixels, "jpeg", 95))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_webp_by_blender(addon, tmp_path, channels) -> None:
    encode = addon.saving.blender_encoders.encoded_by_blender
    pixels = random_pixels((16, 16), channels, np.uint8)
    pixels[..., 3:] |= 1  # WebP forgets the color of what is all transparent
    values, spec = read(tmp_path / "map.webp", encode(pixels, "webp", 100))
    assert spec.nchannels == max(3, channels)
    np.testing.assert_array_equal(values, np.broadcast_to(pixels, values.shape))
