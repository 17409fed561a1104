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


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write [H, W, C] (C = 1, 3, 4): float for .hdr and .exr, uint8 or uint16 for .png. Raises ImageError."""
    Path(path).write_bytes(encode_image(Path(path).suffix, image))


def encode_image(suffix: str, image: np.ndarray) -> bytes:
    """The bytes of an image file of type `suffix` (".png", ".hdr", ".exr"); arrays as for `write_image`."""
    if suffix.lower() in (".hdr", ".exr"):
        image = image.astype(np.float32)
    elif image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"a {suffix} file holds 8 or 16-bit integers, not {image.dtype}: encode the values first")
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(_swap_channels(image)))
    if not ok:
        raise ImageError(f"cannot encode an array {list(image.shape)} {image.dtype} as {suffix}")
    return data.tobytes()


def _swap_channels(image: np.ndarray) -> np.ndarray:
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.shape[-1]]
    return image[..., order]
