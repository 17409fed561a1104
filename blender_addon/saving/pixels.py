# SPDX-License-Identifier: GPL-3.0-or-later
"""The pixels of the files of a layout, from the maps and numbers of a material."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..assign.saved_maps import image_files
from ..common.color import linear_from_srgb, srgb_from_linear
from ..common.color_spaces import Meaning, meaning_of, to_rec709
from ..common.decoded_images import decoded
from ..common.errors import PbrFitError
from ..common.resizing import resized
from ..protocol.map_layouts import DIRECTX, FLOATS, NORMAL, SIGNALS, Channel, MapFile
from ..protocol.png import Run
from .material_signals import CHANNELS, ImagePart, Said

Array = NDArray[np.float32]
BAND_ROWS = 256  # that one thread makes at a time
MOST_BEYOND = 1e-4
"""How far numbers may leave 0..1 in a file of whole numbers: rounding."""
DITHER_SEED = 20
DTYPES: dict[tuple[bool, int], Any] = {
    (False, 8): np.uint8,
    (False, 16): np.uint16,
    (True, 16): np.float16,
    (True, 32): np.float32,
}
"""Of pixels: whether the format has floats, and its bits."""
BRIGHTEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Decoded:
    """The file of an image. values: float32 [H, W, C] as stored, row 0 at the top; meaning: of red, green and blue."""

    values: Array
    meaning: Meaning


class Decoder:
    """Decodes the files of images of one material, each once. Only for the main thread."""

    def __init__(self, size: tuple[int, int] = (0, 0)) -> None:
        """size: the width and height to bring them to, (0, 0): as they are."""
        self._size = size
        self._known: dict[tuple[int, int], Decoded] = {}

    @property
    def changes_size(self) -> bool:
        """Whether images are brought to another size."""
        return any(self._size)

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
            values = decoded(data, image.alpha_mode == "PREMUL")
            self._known[key] = Decoded(scaled(values, meaning, *self._size), meaning)
        return self._known[key]


def scaled(values: Array, meaning: Meaning, width: int, height: int) -> Array:
    """Stored values [H, W, C] in another size; (0, 0) and their own leave them as they are. Colors are mixed as light."""
    if (width, height) in ((0, 0), (values.shape[1], values.shape[0])):
        return values
    if meaning != Meaning.SRGB:
        return resized(values, width, height)
    colors, further = resized(linear_from_srgb(values[..., :3]), width, height), values[..., 3:]
    parts = (
        [srgb_from_linear(colors), resized(further, width, height)] if further.shape[-1] else [srgb_from_linear(colors)]
    )
    return np.concatenate(parts, axis=-1)


# Files --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Some neighboring channels of a file. values: [H, W, c], or [1, 1, c] where they are the same everywhere; change: what is
    still to be done with them."""

    values: Array
    change: Callable[[Array], Array] | None = None

    def rows(self, first: int) -> Array:
        """The final values of a band of rows."""
        found = self.values if len(self.values) == 1 else self.values[first : first + BAND_ROWS]
        return found if self.change is None else self.change(found)


def parts_of(item: MapFile, said: Mapping[str, Said], normal: str, tile: int, decode: Decoder) -> list[Part]:
    """The channels of a file, one after the other. normal: the convention of normals.

    Raises PbrFitError if an image has no file.
    """
    parts = [whole_part(item, said[item.whole], normal, tile, decode)] if item.whole else []
    parts += [channel_part(channel, said, tile, decode) for channel in item.channels]
    if item.alpha is not None and has_alpha(item, said):
        parts.append(channel_part(item.alpha, said, tile, decode))
    return parts


def has_alpha(item: MapFile, said: Mapping[str, Said]) -> bool:
    """Whether a file has an alpha channel for this material."""
    return item.alpha is not None and not (item.is_opacity and said["alpha"] == (1.0,))


def whole_part(item: MapFile, source: Said, normal: str, tile: int, decode: Decoder) -> Part:
    """The red, green and blue of a file that are one property."""
    stored = Meaning.LINEAR_REC709
    if isinstance(source, ImagePart):
        found = decode(source.image, tile)
        values, stored = found.values[..., :3], found.meaning
        values = np.repeat(values[..., :1], 3, axis=-1) if values.shape[-1] < 3 else values
    else:
        values = np.array(source, np.float32).reshape(1, 1, 3)
    if SIGNALS[item.whole].kind == NORMAL:
        if decode.changes_size and isinstance(source, ImagePart):
            values = of_unit_length(values)
        return Part(values, green_turned if normal == DIRECTX else None)
    wanted = Meaning.LINEAR_REC709 if item.format == FLOATS else Meaning.SRGB
    if not item.is_color or stored == wanted:  # what is not converted keeps its levels exactly
        return Part(values)
    if stored == Meaning.SRGB:
        return Part(values, linear_from_srgb)
    if wanted == Meaning.LINEAR_REC709:
        return Part(values, to_rec709)
    if stored == Meaning.LINEAR_REC709:
        return Part(values, srgb_from_linear)
    return Part(values, lambda part: srgb_from_linear(to_rec709(part)))


def channel_part(channel: Channel, said: Mapping[str, Said], tile: int, decode: Decoder) -> Part:
    """One channel of a file."""
    source: Said = said[channel.signal] if channel.signal else (channel.value,)
    if isinstance(source, ImagePart):
        found, place = decode(source.image, tile).values, CHANNELS.index(source.part)
        if place == 3 and found.shape[-1] < 4:
            values = np.ones((1, 1, 1), np.float32)
        else:
            values = found[..., min(place, found.shape[-1] - 1), None]
    else:
        values = np.array(source, np.float32).reshape(1, 1, 1)
    return Part(values, inverted if channel.inverted else None)


def of_unit_length(values: Array) -> Array:
    """Encoded normals of which each has the length 1: means of several are shorter."""
    vectors = values * np.float32(2.0) - np.float32(1.0)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=vectors, where=lengths > 0.0) * np.float32(0.5) + np.float32(0.5)


def green_turned(values: Array) -> Array:
    """Encoded normals with the other sign of green."""
    return np.stack([values[..., 0], 1.0 - values[..., 1], values[..., 2]], axis=-1)


def inverted(values: Array) -> Array:
    """1 minus the values."""
    return 1.0 - values


def pixels_of(item: MapFile, parts: Sequence[Part], dither: bool, run: Run) -> NDArray[Any]:
    """The pixels of a file: uint8 or uint16, half floats or floats [H, W, 1, 3 or 4], row 0 at the top.

    Colors are sRGB in whole numbers; in floats they are linear, and multiplied by how opaque they are, as OpenEXR wants it.
    Raises PbrFitError if the file cannot hold a value, or if maps differ in size.
    """
    sizes = {part.values.shape[:2] for part in parts if part.values.shape[:2] != (1, 1)}
    if len(sizes) > 1:
        raise PbrFitError(f"The maps that belong in {item.map} differ in size.", "Bake or fit them again.")
    height, width = next(iter(sizes), (1, 1))
    channels = sum(part.values.shape[-1] for part in parts)
    floats = item.format == FLOATS
    dtype = DTYPES[floats, item.bits]
    pixels = np.empty((height, width, channels), dtype)

    def band(first: int) -> bytes:
        values = np.empty((min(BAND_ROWS, height - first), width, channels), np.float32)
        place = 0
        for part in parts:
            count = part.values.shape[-1]
            values[..., place : place + count] = part.rows(first)
            place += count
        if np.isnan(values).any():
            raise PbrFitError(
                f"The map {item.map} has pixels that are no numbers (NaN).",
                "Paint over them in its image, or make the map again.",
            )
        if not floats:
            pixels[first : first + BAND_ROWS] = whole_numbers(values, item, dither and item.bits == 8, first)
            return b""
        if item.is_opacity and channels == 4:
            values[..., :3] *= values[..., 3:]
        if dtype == np.float16:
            np.clip(values, -BRIGHTEST_HALF, BRIGHTEST_HALF, out=values)
        pixels[first : first + BAND_ROWS] = values
        return b""

    run(band, range(0, height, BAND_ROWS))
    return pixels


def whole_numbers(values: Array, item: MapFile, dither: bool, seed: int) -> Array:
    """Values 0..1 as numbers whose whole part is the level, changed in place; colors are cut at 0 and 1.

    dither: rounding becomes noise, always the same for a seed. Raises PbrFitError for numbers that leave 0..1.
    """
    if not item.is_color and (values.min() < -MOST_BEYOND or values.max() > 1.0 + MOST_BEYOND):
        raise PbrFitError(
            f"The map {item.map} has numbers outside of 0 to 1, which {item.format.upper()} cannot hold.",
            "Choose the format EXR.",
        )
    np.clip(values, 0.0, 1.0, out=values)
    values *= np.float32(2**item.bits - 1)
    # What is a level already stays, also where float32 is a little off.
    values += (
        np.random.default_rng((DITHER_SEED, seed)).uniform(0.01, 0.99, values.shape).astype(np.float32)
        if dither
        else np.float32(0.5)
    )
    return values
