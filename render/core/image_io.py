"""Image files as numpy arrays: row 0 at the top, RGB order, linear float for .hdr and .exr, integers as stored for .png."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

# OpenCV reads and writes OpenEXR only where this is set before its codec is first used.
os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
import cv2


class ImageError(ValueError):
    """An image file that cannot be read or written; the message names the cause and the cure."""


def read_image(path: str | Path) -> np.ndarray:
    """[H, W, C] in RGB(A) order; float32 linear for .hdr and .exr, uint8 or uint16 as stored otherwise."""
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"there is no image file {path}: check the path")
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ImageError(f"{path} is not an image this can read: use PNG, HDR or EXR")
    return _swap_channels(image if image.ndim == 3 else image[..., None])


def decode_image(data: bytes | np.ndarray, name: str = "the image") -> np.ndarray:
    """The pixels of an image file's bytes (or uint8 [n]), as `read_image` has them; `name` is what an error calls it."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ImageError(f"{name} is not an image this can read: use PNG, JPEG, HDR or EXR")
    return _swap_channels(image if image.ndim == 3 else image[..., None])


def read_values(path: str | Path) -> np.ndarray:
    """[H, W, C] float32 in RGB(A) order: integers as shares of their type's largest (0..1), floats as they are.

    Encoded values stay encoded: the colours of a PNG are sRGB as a rule. Raises ImageError.
    """
    image = read_image(path)
    if image.dtype.kind == "f":
        return image.astype(np.float32)
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path} holds {image.dtype}: save it with 8 or 16 bits, or as HDR or EXR")
    return (image / np.float32(np.iinfo(image.dtype).max)).astype(np.float32)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write [H, W, C] (C = 1..4), over what was there: float for .hdr and .exr, uint8 or uint16 for .png.

    Raises ImageError as `encode_image`, and where the file cannot be written.
    """
    path = Path(path)
    data = encode_image(path.suffix, image)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}; check the folder and its permissions") from error


def write_values(path: str | Path, values: np.ndarray, bits: int = 8) -> None:
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


def encode_image(suffix: str, image: np.ndarray) -> bytes:
    """The bytes of an image file of type `suffix` (".png", ".hdr", ".exr"); arrays as for `write_image`.

    These files know no two channels: a third, all zero, is added. Radiance HDR knows no alpha, keeps one exponent for
    the three channels of a pixel, and no negative values: they become 0.
    Raises ImageError for shapes and types that the file cannot hold.
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 2, 3, 4) or 0 in image.shape:
        raise ImageError(f"an image is [H, W, C] with 1 to 4 channels and not empty, not {list(image.shape)}: split it")
    suffix = suffix.lower()
    if suffix == ".hdr" and image.shape[-1] == 4:
        raise ImageError("a .hdr file has no alpha: write .exr, or the first three channels")
    if _is_float_type(suffix):
        image = image.astype(np.float32)
    elif image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"a {suffix} file holds 8 or 16-bit integers, not {image.dtype}: encode the values first")
    elif image.dtype == np.uint16 and suffix != ".png":
        raise ImageError(f"16 bits are written as .png only, not as {suffix or 'a file without an ending'}")
    if image.shape[-1] == 2:
        image = np.concatenate([image, np.zeros_like(image[..., :1])], -1)
    try:
        ok, data = cv2.imencode(suffix, np.ascontiguousarray(_swap_channels(image)))
    except cv2.error as error:
        cure = "use .png, .hdr, .exr"
        if suffix in (".png", ".hdr", ".exr"):  # some builds of OpenCV lack one of them
            cure = f"OpenCV {cv2.__version__} was built without them; install opencv-python-headless 4"
        raise ImageError(f"cannot write images as {suffix or 'a file without an ending'}: {cure}") from error
    if not ok:
        raise ImageError(f"cannot encode an array {list(image.shape)} {image.dtype} as {suffix}")
    return data.tobytes()


def _is_float_type(suffix: str) -> bool:
    return suffix.lower() in (".hdr", ".exr")


def _swap_channels(image: np.ndarray) -> np.ndarray:
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.shape[-1]]
    return image[..., order]
