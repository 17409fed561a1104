# SPDX-License-Identifier: GPL-3.0-or-later
"""The pixels of the files of a layout, from the maps and numbers of a material."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..assign.saved_maps import image_files
from ..common.color import linear_from_srgb, srgb_from_linear
from ..common.color_spaces import Meaning, data_space, meaning_of, to_rec709
from ..common.errors import PbrFitError
from ..protocol.map_layouts import DIRECTX, FLOATS, NORMAL, SIGNALS, Channel, MapFile
from .material_signals import CHANNELS, ImagePart, Said

Array = NDArray[np.float32]
ROWS = 512
MOST_BEYOND = 1e-4
"""How far numbers may leave 0..1 in a file of whole numbers: rounding."""
DITHER_SEED = 20
BRIGHTEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Decoded:
    """The file of an image. values: float32 [H, W, 4] as stored, row 0 at the top; meaning: of red, green and blue."""

    values: Array
    meaning: Meaning


class Decoder:
    """Decodes the files of images of one material, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Decoded] = {}

    def __call__(self, image: bpy.types.Image, tile: int) -> Decoded:
        """The pixels of a tile of an image (0: without tiles). Raises PbrFitError if it has no file."""
        key = image.session_uid, tile
        if key not in self._known:
            files = image_files(image)
            data = files.get(tile, files.get(0))
            meaning = meaning_of(image)
            if data is None or meaning is None:
                what = "has no tile" if data is None else "has a color space that PBRfit does not know"
                raise PbrFitError(f'The map "{image.name}" {what}.', "Bake it again, or choose the layout As They Are.")
            self._known[key] = Decoded(decoded(data, image.alpha_mode == "PREMUL"), meaning)
        return self._known[key]


def decoded(data: bytes, multiplied: bool) -> Array:
    """The values of an image's file as they are stored, [H, W, 4], row 0 at the top. multiplied: colors are by alpha, which
    is taken back."""
    image = bpy.data.images.new("PBRfit", 1, 1)
    try:
        image.pack(data=data, data_len=len(data))
        image.source = "FILE"
        image.alpha_mode = "CHANNEL_PACKED"
        image.colorspace_settings.name = data_space()
        width, height = image.size
        pixels = np.empty(width * height * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        found = pixels.reshape(height, width, image.channels)[::-1]
    finally:
        bpy.data.images.remove(image)
    values = np.ones((height, width, 4), np.float32)
    if found.shape[-1] < 3:
        values[..., :3] = found[..., :1]
    else:
        values[..., : found.shape[-1]] = found
    if multiplied:
        alpha = values[..., 3:]
        np.divide(values[..., :3], alpha, out=values[..., :3], where=alpha > 0.0)
    return values


def pixels_of(
    item: MapFile, said: Mapping[str, Said], normal: str, tile: int, decode: Decoder, dither: bool
) -> NDArray[Any]:
    """The pixels of a file: uint8 or uint16, half floats or floats [H, W, 1, 3 or 4], row 0 at the top.

    normal: the convention of normals. Colors are sRGB in whole numbers; in floats they are linear, and multiplied by how
    opaque they are, as OpenEXR wants it. Raises PbrFitError if the file cannot hold a value, or maps differ in size.
    """
    parts = [one_color(item.whole, said[item.whole], normal, tile, decode, item)] if item.whole else []
    parts += [one_channel(channel, said, tile, decode) for channel in item.channels]
    if item.alpha is not None and has_alpha(item, said):
        parts.append(one_channel(item.alpha, said, tile, decode))
    sizes = {part.shape[:2] for part in parts if part.shape[:2] != (1, 1)}
    if len(sizes) != 1:
        raise PbrFitError(f"The maps that belong in {item.map} differ in size.", "Bake or fit them again.")
    height, width = sizes.pop()
    values = np.concatenate([np.broadcast_to(part, (height, width, part.shape[-1])) for part in parts], axis=-1)
    if item.format != FLOATS:
        return whole_numbers(values, item, dither and item.bits == 8)
    if item.is_opacity and values.shape[-1] == 4:
        values[..., :3] *= values[..., 3:]
    return np.clip(values, -BRIGHTEST_HALF, BRIGHTEST_HALF).astype(np.float16) if item.bits == 16 else values


def has_alpha(item: MapFile, said: Mapping[str, Said]) -> bool:
    """Whether a file has an alpha channel for this material."""
    return item.alpha is not None and not (item.is_opacity and said["alpha"] == (1.0,))


def one_color(name: str, source: Said, normal: str, tile: int, decode: Decoder, item: MapFile) -> Array:
    """The red, green and blue of a file, [H, W, 3], or [1, 1, 3] where they are numbers."""
    stored = Meaning.LINEAR_REC709
    if isinstance(source, ImagePart):
        found = decode(source.image, tile)
        values, stored = found.values[..., :3], found.meaning
    else:
        values = np.array(source, np.float32).reshape(1, 1, 3)
    if SIGNALS[name].kind == NORMAL:
        if normal == DIRECTX:
            values = np.stack([values[..., 0], 1.0 - values[..., 1], values[..., 2]], axis=-1)
        return values
    if not item.is_color:
        return values
    wanted = Meaning.LINEAR_REC709 if item.format == FLOATS else Meaning.SRGB
    if stored == wanted:  # what is not converted keeps its levels exactly
        return values
    if stored == Meaning.SRGB:
        return linear_from_srgb(values)
    linear = to_rec709(values) if stored == Meaning.SCENE_LINEAR else values
    return srgb_from_linear(linear) if wanted == Meaning.SRGB else linear


def one_channel(channel: Channel, said: Mapping[str, Said], tile: int, decode: Decoder) -> Array:
    """One channel of a file, [H, W, 1], or [1, 1, 1] where it is the same everywhere."""
    source: Said = said[channel.signal] if channel.signal else (channel.value,)
    if isinstance(source, ImagePart):
        values = decode(source.image, tile).values[..., CHANNELS.index(source.part), None]
    else:
        values = np.array(source, np.float32).reshape(1, 1, 1)
    return 1.0 - values if channel.inverted else values


def whole_numbers(values: Array, item: MapFile, dither: bool) -> NDArray[Any]:
    """Values 0..1 in all levels of whole numbers; colors are cut there. dither: rounding becomes noise, always the same."""
    if not item.is_color and (values.min() < -MOST_BEYOND or values.max() > 1.0 + MOST_BEYOND):
        raise PbrFitError(
            f"The map {item.map} has numbers outside of 0 to 1, which {item.format.upper()} cannot hold.",
            "Choose the format EXR.",
        )
    dtype: type[np.uint8] | type[np.uint16] = np.uint8 if item.bits == 8 else np.uint16
    largest = np.iinfo(dtype).max
    levels = np.empty(values.shape, dtype)
    random = np.random.default_rng(DITHER_SEED)
    for first in range(0, len(values), ROWS):  # in parts, since large maps take much more in between
        rows = np.clip(values[first : first + ROWS], 0.0, 1.0) * np.float32(largest)
        # What is a level already stays, also where float32 is a little off.
        rows += random.uniform(0.01, 0.99, rows.shape).astype(np.float32) if dither else np.float32(0.5)
        levels[first : first + ROWS] = rows.astype(dtype)
    return levels
