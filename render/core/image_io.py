"""Image files as numpy arrays: row 0 at the top, RGB order, linear float for .hdr and .exr, integers as stored for .png.

OpenImageIO reads and writes them. imageio reads the few types that OpenImageIO's wheels lack.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError

# Alpha stays beside the color: OpenImageIO would multiply it in while it reads, and divide by it while it writes.
_ALPHA_STAYS = "oiio:UnassociatedAlpha"
_WRITTEN: dict[str, dict[str, str | int]] = {
    # Filter 16 is "Sub". With run lengths alone, level 1 takes half of deflate's time for files of about the same size.
    ".png": {"compression": "rle", "png:compressionLevel": 1, "png:filter": 16},
    ".hdr": {},
    # Without a date of its own, the file would hold the time: the same pixels give the same bytes.
    ".exr": {"compression": "zip", "DateTime": ""},
    ".bmp": {},
    ".jpeg": {"compression": "jpeg:95"},
    ".jpg": {"compression": "jpeg:95"},
    ".tif": {"compression": "lzw"},
    ".tiff": {"compression": "lzw"},
    ".webp": {"compression": "lossless"},
}
"""The types of files that can be written, and how OpenImageIO writes each."""

_WITHOUT_ALPHA = {".hdr": ".exr", ".jpg": ".png", ".jpeg": ".png"}
"""Types that hold no alpha, and the type to write in their place."""

_WITHOUT_GREY = (".hdr", ".webp")
_READ_BY_IMAGEIO = ((0, b"\x00\x00\x00\x0cjP  "), (0, b"\xff\x4f\xff\x51"), (0, b"GIF8"), (4, b"ftypavif"))
"""JPEG 2000 (two), GIF and AVIF: where in the file their signature stands, and the signature."""


class ImageError(ValueError):
    """An image file that cannot be read or written; the message names the cause and the cure."""


def read_image(path: str | Path) -> NDArray[Any]:
    """[H, W, C] in RGB(A) order; float32 linear for .hdr and .exr, uint8 or uint16 as stored otherwise.

    Grey with alpha becomes RGBA. Raises ImageError.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"there is no image file {path}: check the path")
    image = _read(path, str(path))
    if image is None:
        raise ImageError(f"{path} is not an image this can read: use PNG, HDR or EXR")
    return image


def decode_image(
    data: bytes | NDArray[np.uint8], name: str = "the image", most_pixels: int | None = None
) -> NDArray[Any]:
    """The pixels of an image file's bytes (or uint8 [n]), as `read_image` has them; `name` is what an error calls it.

    most_pixels: a larger image is refused before it is decoded: a small file may unfold to many gigabytes. An image may have
    four channels of so many pixels.
    """
    with _temporary_file("") as path:  # OpenImageIO finds the type of a file by its content
        path.write_bytes(data if isinstance(data, bytes) else data.tobytes())
        image = _read(path, name, most_pixels)
    if image is None:
        raise ImageError(f"{name} is not an image this can read: use PNG, JPEG, HDR or EXR")
    return image


def read_values(path: str | Path) -> NDArray[np.float32]:
    """[H, W, C] float32 in RGB(A) order: integers as shares of their type's largest (0..1), floats as they are.

    Encoded values stay encoded: the colors of a PNG are sRGB as a rule. Raises ImageError.
    """
    image = read_image(path)
    if image.dtype.kind == "f":
        return image.astype(np.float32)
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path} holds {image.dtype}: save it with 8 or 16 bits, or as HDR or EXR")
    return (image / np.float32(np.iinfo(image.dtype).max)).astype(np.float32)


def write_image(path: str | Path, image: NDArray[Any]) -> None:
    """Write [H, W, C] (C = 1..4), over what was there: float for .hdr and .exr, uint8 or uint16 for .png.

    Raises ImageError as `encode_image`, and where the file cannot be written.
    """
    path = Path(path)
    data = encode_image(path.suffix, image)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}; check the folder and its permissions") from error


def write_values(path: str | Path, values: NDArray[Any], bits: int = 8) -> None:
    """Write floats [H, W, C]: as they are to .hdr and .exr; to other types clamped to 0..1 and rounded to `bits` (8, 16).

    NaN becomes 0 where integers are written. Raises ImageError as `write_image`.
    """
    if not _is_float_type(Path(path).suffix):
        if bits not in (8, 16):
            raise ImageError(f"an image can have 8 or 16 bits a channel, not {bits}")
        largest = 2**bits - 1
        shares = np.nan_to_num(np.asarray(values, np.float64), nan=0.0).clip(0, 1)
        values = np.rint(shares * largest).astype(np.uint8 if bits == 8 else np.uint16)
    write_image(path, values)


def encode_image(suffix: str, image: NDArray[Any]) -> bytes:
    """The bytes of an image file of type `suffix` (".png", ".hdr", ".exr"); arrays as for `write_image`.

    These files know no two channels: a third, all zero, is added. Radiance HDR knows no alpha, keeps one exponent for
    the three channels of a pixel, and no negative values: they become 0. The same pixels give the same bytes.
    Raises ImageError for shapes and types that the file cannot hold.
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 2, 3, 4) or 0 in image.shape:
        raise ImageError(f"an image is [H, W, C] with 1 to 4 channels and not empty, not {list(image.shape)}: split it")
    suffix = suffix.lower()
    if image.shape[-1] == 4 and suffix in _WITHOUT_ALPHA:
        raise ImageError(f"a {suffix} file has no alpha: write {_WITHOUT_ALPHA[suffix]}, or the first three channels")
    if _is_float_type(suffix):
        image = image.astype(np.float32)
    elif image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"a {suffix} file holds 8 or 16-bit integers, not {image.dtype}: encode the values first")
    elif image.dtype == np.uint16 and suffix != ".png":
        raise ImageError(f"16 bits are written as .png only, not as {suffix or 'a file without an ending'}")
    if suffix not in _WRITTEN:
        raise ImageError(f"cannot write images as {suffix or 'a file without an ending'}: use .png, .hdr, .exr")
    if image.shape[-1] == 2:
        image = np.concatenate([image, np.zeros_like(image[..., :1])], -1)
    elif image.shape[-1] == 1 and suffix in _WITHOUT_GREY:
        image = np.repeat(image, 3, axis=-1)
    if suffix == ".hdr":
        image = np.maximum(image, 0)  # the format's bytes would wrap a negative value to a positive one
    with _temporary_file(suffix) as path:
        _write(path, suffix, image)
        return path.read_bytes()


def _is_float_type(suffix: str) -> bool:
    return suffix.lower() in (".hdr", ".exr")


@contextmanager
def _temporary_file(suffix: str) -> Iterator[Path]:
    """A path for OpenImageIO, whose Python module works on files only; the file is removed at the end."""
    try:
        with tempfile.TemporaryDirectory(prefix="pbrfit-image-") as folder:
            yield Path(folder) / f"image{suffix}"
    except OSError as error:
        cure = "free some space for temporary files, or set TMPDIR to another folder"
        raise ImageError(f"a temporary file cannot be written ({error.strerror}): {cure}") from error


def _read(path: Path, name: str, most_pixels: int | None = None) -> NDArray[Any] | None:
    """The pixels of a file, whatever its ending; None where it is no image. Raises ImageError for unknown channels."""
    config = oiio.ImageSpec()
    config.attribute(_ALPHA_STAYS, 1)
    try:
        source = oiio.ImageInput.open(str(path), config)
        if source is None:
            oiio.geterror()  # an error that nobody takes is printed when the process ends
            return _read_by_imageio(path, name, most_pixels)
        spec, stored = source.spec(), str(source.spec().format)
        _check_size(name, (spec.height, spec.width, max(spec.depth, 1) * spec.nchannels), most_pixels)
        image = source.read_image("float" if stored == "half" else stored)
    except ImageError:
        raise
    except (ValueError, RuntimeError):  # exceptions of its C++ at some broken files
        return None
    is_exr = source.format_name() == "openexr"
    source.geterror()
    source.close()
    if image is None:
        return None
    return _color_channels(image.astype(np.float32, copy=False) if is_exr else image, spec.channelnames, name)


def _check_size(name: str, shape: tuple[int, ...], most_pixels: int | None) -> None:
    """Raises ImageError where an image [H, W, C] is larger than allowed."""
    height, width, channels = (*shape, 1)[:3]
    if most_pixels is not None and height * width * max(1.0, channels / 4) > most_pixels:
        many = f" with {channels} channels" if channels > 4 else ""
        raise ImageError(f"{name} has {width} x {height} pixels{many}, more than {most_pixels}: make it smaller")


def _read_by_imageio(path: Path, name: str, most_pixels: int | None) -> NDArray[Any] | None:
    """The pixels, or the first picture of several, of a file of a type that OpenImageIO does not know."""
    try:
        data = path.read_bytes()
        if not any(data.startswith(signature, place) for place, signature in _READ_BY_IMAGEIO):
            return None
        if most_pixels is not None:
            _check_size(name, imageio.improps(data, plugin="pillow", index=0).shape, most_pixels)
        image = imageio.imread(data, plugin="pillow", index=0)
    except ImageError:
        raise
    except DecompressionBombError as error:
        raise ImageError(f"{name} is larger than Pillow allows ({error}): make it smaller") from error
    except (OSError, ValueError, SyntaxError):  # what Pillow raises on a broken file
        return None
    image = image if image.ndim == 3 else image[..., None]
    return _color_channels(image, {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}[image.shape[-1]], "the image")


def _color_channels(image: NDArray[Any], names: Sequence[str], name: str) -> NDArray[Any]:
    """One channel, or RGB(A), of an image [H, W, C] with named channels; a missing one of R, G and B is zero."""
    if len(names) == 1 and names[0] not in ("R", "G", "B"):
        return image
    wanted = ["R", "G", "B"]
    if not set(names) & set(wanted):
        if "Y" not in names:
            raise ImageError(f"{name} has the channels {', '.join(names)}: save it with R, G and B, or with one alone")
        wanted = ["Y"] * 3 if "A" in names else ["Y"]
    if "A" in names:
        wanted = [*wanted, "A"]
    if list(names) == wanted:
        return image
    zeros = np.zeros_like(image[..., 0])
    return np.stack([image[..., names.index(key)] if key in names else zeros for key in wanted], -1)


def _write(path: Path, suffix: str, image: NDArray[Any]) -> None:
    height, width, channels = image.shape
    spec = oiio.ImageSpec(width, height, channels, {"u1": "uint8", "u2": "uint16", "f4": "float"}[image.dtype.str[1:]])
    for key, value in {_ALPHA_STAYS: 1, **_WRITTEN[suffix]}.items():
        spec.attribute(key, value)
    target = oiio.ImageOutput.create(str(path))
    if target is None:
        raise ImageError(f"cannot write images as {suffix}: OpenImageIO {oiio.VERSION_STRING} was built without them")
    written = target.open(str(path), spec) and target.write_image(np.ascontiguousarray(image))
    if not (target.close() and written):
        raise ImageError(f"cannot encode an array {list(image.shape)} {image.dtype} as {suffix}: {target.geterror()}")
