# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a layout that have the pixels of an image's own file: no decoding by Blender, which only its main thread can do."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

from ..assign.saved_maps import image_files
from ..common.color_spaces import Meaning, meaning_of
from ..protocol.map_layouts import DIRECTX, NORMAL, SIGNALS, MapFile
from ..protocol.png import SRGB_PERCEPTUAL, chunk
from .material_signals import CHANNELS, WHOLE, ImagePart, Said
from .pixels import has_alpha

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KINDS = {1: 0, 3: 2, 4: 6}
"""A PNG's type of color, by the number of channels."""
HEAD_BYTES = 25  # of the chunk IHDR, of which 13 are what it says
PIXELS = (b"IHDR", b"IDAT", b"IEND")
SAYS_NOTHING_OF_COLORS = (b"sRGB", b"eXIf", b"oFFs", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME")
"""Chunks that can be left out: what kind of image it is, Blender knows; Blender writes some of the others itself."""


def unchanged_file(
    item: MapFile, said: Mapping[str, Said], normal: str, tile: int, size: tuple[int, int]
) -> bytes | None:
    """A file with the pixels of the one image that has all of its channels, in their order and kind; None: it must be encoded.

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
    return None if data is None else same_png(data, len(channels), item.bits, item.is_color, size)


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


def same_png(data: bytes, channels: int, bits: int, srgb: bool, size: tuple[int, int]) -> bytes | None:
    """A PNG of these channels and bits with its pixels as they are compressed, and said to be sRGB or not; None where it is not
    such a file, or says anything else of its colors. size: its width and height, (0, 0) for any."""
    kept: list[tuple[bytes, bytes]] = []
    for kind, whole in chunks(data) if data.startswith(SIGNATURE) else ():
        if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):  # damaged: whoever decodes it says so
            return None
        if kind == b"IHDR":
            if len(whole) != HEAD_BYTES:
                return None
            width, height, *form = struct.unpack(">IIBBBBB", whole[8:21])
            if form != [bits, KINDS.get(channels, -1), 0, 0, 0] or (any(size) and size != (width, height)):
                return None
        if kind in PIXELS:
            kept.append((kind, whole))
        elif kind not in SAYS_NOTHING_OF_COLORS:
            return None
    if [kind for kind, _ in kept[:2]] != [b"IHDR", b"IDAT"] or kept[-1][0] != b"IEND":
        return None
    color = [chunk(b"sRGB", SRGB_PERCEPTUAL)] if srgb else []
    head, *further = [whole for _, whole in kept]
    return b"".join([SIGNATURE, head, *color, *further])


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: name, and all their bytes. It ends where the file does."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        yield kind, data[place : place + 12 + length]
        place += 12 + int(length)
