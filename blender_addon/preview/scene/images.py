# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the file for the preview: the names of their pixels, the meaning of their values, and how to send them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.color_spaces import Meaning, is_rec709, meaning_of, to_rec709
from ...export.uv_layout import FIRST_TILE
from ...protocol.scene_description import LINEAR, SRGB

SCENE_LINEAR = "scene linear"
"""The encoding of colors that are not linear Rec.709 yet, as the backend wants them: scene linear is something else."""
MOST_SMALL_PIXELS = 1024 * 1024
STILLS = frozenset({"FILE", "GENERATED"})


def encoding_of(image: bpy.types.Image, is_color: bool) -> str | None:
    """What the stored values of an image mean: "srgb", "linear" (Rec.709, or numbers) or `SCENE_LINEAR`.

    is_color: whether it is seen as a color, not as numbers. None for any other color space.
    """
    meaning = meaning_of(image)
    if meaning is None:
        return None
    if is_color and not is_rec709() and (image.is_float or meaning is Meaning.SCENE_LINEAR):
        return SCENE_LINEAR
    return SRGB if meaning is Meaning.SRGB else LINEAR


_changes: Counter[int] = Counter()


def note_change(image: bpy.types.Image) -> None:
    """Take in that an image has changed, as Blender says."""
    _changes[image.session_uid] += 1


def image_changes(image: bpy.types.Image) -> int:
    """How often Blender has said that an image has changed."""
    return _changes[image.session_uid]


def image_key(image: bpy.types.Image) -> str:
    """The name of an image's pixels as they are now. It does not make Blender decode the file, as the image's size would."""
    if image.source in {"FILE", "TILED"}:
        size = f"{image.filepath}.{sum(entry.packed_file.size for entry in image.packed_files if entry.packed_file)}"
    else:
        size = "x".join(str(number) for number in image.size)
    meaning = f"{image.colorspace_settings.name}.{image.alpha_mode}"
    return f"image/{image.session_uid}.{image_changes(image)}.{size}.{meaning}"


def packed_file(image: bpy.types.Image, tile: int) -> bpy.types.PackedFile | None:
    """The packed file of an image, or of one of its UDIM tiles (0: the image has no tiles)."""
    if not tile:
        return image.packed_file
    return next((entry.packed_file for entry in image.packed_files if entry.tile_number == tile), None)


def file_path(image: bpy.types.Image, tile: int) -> Path:
    """Where the file of an image, or of one of its UDIM tiles, would be."""
    return Path(bpy.path.abspath(image.filepath, library=image.library).replace("<UDIM>", str(tile)))


def has_file(image: bpy.types.Image, tile: int = 0) -> bool:
    """Whether `file_bytes` finds a file."""
    if image.is_dirty or image.source not in {"FILE", "TILED"}:
        return False
    return packed_file(image, tile) is not None or file_path(image, tile).is_file()


def has_pixels(image: bpy.types.Image) -> bool:
    """Whether an image shows anything, as far as that can be known before Blender decodes its file."""
    return bool(image.has_data) or has_file(image, FIRST_TILE if image.source == "TILED" else 0) or 0 not in image.size


def file_bytes(image: bpy.types.Image, tile: int = 0) -> bytes | None:
    """The bytes of the file, packed or on disk, that an image (or one of its UDIM tiles) shows; None if it shows no file."""
    if not has_file(image, tile):
        return None
    packed = packed_file(image, tile)
    try:
        return bytes(packed.data) if packed is not None else file_path(image, tile).read_bytes()
    except OSError:
        return None


def sent_image(image: bpy.types.Image, encoding: str, tile: int = 0) -> tuple[NDArray[Any], str]:
    """An image for the backend, as the bytes of its file, uint8 [n], or else its pixels; and the encoding of its values:
    "srgb" or "linear"."""
    if encoding == SCENE_LINEAR:
        return rec709_pixels(image), LINEAR
    data = file_bytes(image, tile)
    if data is not None:
        return np.frombuffer(data, dtype=np.uint8), encoding
    pixels = image_pixels(image)
    return pixels, LINEAR if pixels.dtype == np.float32 else encoding


def rec709_pixels(image: bpy.types.Image) -> NDArray[np.float32]:
    """The pixels float32 [h, w, 4], row 0 at the top, linear Rec.709, of an image whose pixels are scene linear."""
    pixels = image_pixels(image)
    values = pixels * np.float32(1 / 255) if pixels.dtype == np.uint8 else pixels
    return np.concatenate([to_rec709(values[..., :3]), values[..., 3:]], axis=-1)


def small_pixels(image: bpy.types.Image) -> NDArray[Any] | None:
    """The pixels of an image [h, w, 4], row 0 at the top: uint8 as stored, or float32 numbers; None for colors as floats, for
    what is no still, and for what is so large that it takes long to read."""
    is_readable = image.source in STILLS and 0 < image.size[0] * image.size[1] <= MOST_SMALL_PIXELS
    if not is_readable or (image.is_float and not image.colorspace_settings.is_data):
        return None
    return image_pixels(image)


def image_pixels(image: bpy.types.Image) -> NDArray[Any]:
    """The pixels [h, w, 4], row 0 at the top: uint8 as stored; for a float image float32, scene linear."""
    width, height = image.size
    values = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(values)
    pixels: NDArray[np.float32] = values.reshape(height, width, image.channels)[::-1]
    if image.channels < 4:
        gray = pixels[..., :1] if image.channels < 3 else pixels[..., :3]
        alpha = pixels[..., 1:2] if image.channels == 2 else np.ones_like(pixels[..., :1])
        pixels = np.concatenate([np.broadcast_to(gray, (height, width, 3)), alpha], axis=-1)
    if image.is_float:
        return np.ascontiguousarray(pixels)
    stored: NDArray[np.uint8] = np.rint(pixels * 255.0).astype(np.uint8)
    return stored
