# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a layout that are an image's own file, byte for byte: no decoding by Blender, which only its main thread can do."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from ..assign.saved_maps import image_files
from ..common.color_spaces import Meaning, meaning_of
from ..protocol.map_layouts import DIRECTX, NORMAL, SIGNALS, MapFile
from ..protocol.png import SRGB_PERCEPTUAL
from .material_signals import CHANNELS, WHOLE, ImagePart, Said
from .pixels import has_alpha

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KINDS = {1: 0, 3: 2, 4: 6}
"""A PNG's type of color, by the number of channels."""


def unchanged_file(
    item: MapFile, said: Mapping[str, Said], normal: str, tile: int, size: tuple[int, int]
) -> bytes | None:
    """The bytes of the one image that has everything a file is to have, in its order and kind; None: it must be encoded.

    As of `pixels_of`: normal is the convention of normals, size the width and height that are wanted, (0, 0) for any. Raises
    PbrFitError if the image has no file.
    """
    if item.format != "png" or (item.whole and SIGNALS[item.whole].kind == NORMAL and normal == DIRECTX):
        return None
    channels = channels_of(item, said)
    if not channels or len({part.image for part in channels}) != 1:
        return None
    image = channels[0].image
    if [part.part for part in channels] != list(CHANNELS[: len(channels)]):
        return None
    if (item.is_color and meaning_of(image) != Meaning.SRGB) or image.alpha_mode == "PREMUL":
        return None
    files = image_files(image)
    data = files.get(tile, files.get(0))
    return data if data is not None and is_such_png(data, len(channels), item.bits, item.is_color, size) else None


def channels_of(item: MapFile, said: Mapping[str, Said]) -> list[ImagePart]:
    """The parts of images that the channels of a file are; nothing if one of them is anything else."""
    found: list[ImagePart] = []
    if item.whole:
        source = said[item.whole]
        if not isinstance(source, ImagePart) or source.part != WHOLE:
            return []
        found += [ImagePart(source.image, part) for part in CHANNELS[:3]]
    for channel in [*item.channels, *([item.alpha] if item.alpha is not None and has_alpha(item, said) else [])]:
        source = said[channel.signal] if channel.signal else ()
        if not isinstance(source, ImagePart) or channel.inverted:
            return []
        found.append(source)
    return found


def is_such_png(data: bytes, channels: int, bits: int, srgb: bool, size: tuple[int, int]) -> bool:
    """Whether a file is a PNG as `protocol.png` makes it: these channels and bits, and nothing that changes what they mean."""
    if not data.startswith(SIGNATURE):
        return False
    kinds: list[bytes] = []
    for kind, content in chunks(data):
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", content)
            if form != [bits, KINDS.get(channels, -1), 0, 0, 0] or (any(size) and size != (width, height)):
                return False
        if kind == b"sRGB" and content != SRGB_PERCEPTUAL:
            return False
        if kinds[-1:] != [b"IDAT"] or kind != b"IDAT":  # pixels may come in several
            kinds.append(kind)
    return kinds == [b"IHDR", *([b"sRGB"] if srgb else []), b"IDAT", b"IEND"]


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: name, and content, of pixels nothing. It ends where the file does."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        yield kind, b"" if kind == b"IDAT" else data[place + 8 : place + 8 + length]
        place += 12 + int(length)
