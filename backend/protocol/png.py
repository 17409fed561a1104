"""PNG files, compressed in every thread: the fit's maps, and those that the add-on saves."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""[height, width, 1, 3 or 4], row 0 at the top: uint8 or uint16."""
Run = Callable[[Callable[[int], bytes], Sequence[int]], list[bytes]]
"""Calls a function with each of some numbers, perhaps in several threads; returns the results in order."""

BAND_ROWS = 256
LEVEL = 1
# For what the filter leaves, run lengths take two thirds of the time of deflate's search, and make no larger files.
STRATEGY = zlib.Z_RLE
SRGB_PERCEPTUAL = b"\x00"


def one_by_one(work: Callable[[int], bytes], numbers: Sequence[int]) -> list[bytes]:
    """Call a function with each of some numbers, here and now."""
    return [work(number) for number in numbers]


def png(pixels: Pixels, srgb: bool, run: Run = one_by_one) -> bytes:
    """A PNG. srgb: whether it says that its values are sRGB; a file of numbers says nothing about colors."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    size = pixels.dtype.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).reshape(height, width * channels)
    lines = np.ascontiguousarray(rows).view(np.uint8).reshape(height, width * channels * size)
    step = channels * size
    tops = range(0, height, BAND_ROWS)
    sums: dict[int, int] = {}

    def band(top: int) -> bytes:
        """Part of a zlib stream, which can be joined to others."""
        part = lines[top : top + BAND_ROWS]
        filtered: Pixels = np.empty((len(part), part.shape[1] + 1), np.uint8)
        filtered[:, 0] = 1  # the filter Sub: differences from the pixel to the left
        filtered[:, 1 : step + 1] = part[:, :step]
        np.subtract(part[:, step:], part[:, :-step], out=filtered[:, step + 1 :])
        sums[top] = zlib.adler32(filtered.data)
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, 9, STRATEGY)
        is_last = top + BAND_ROWS >= height
        return compressor.compress(filtered.data) + compressor.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)

    bands = run(band, tops)
    total = 1
    for top in tops:
        total = joined_adler(total, sums[top], min(BAND_ROWS, height - top) * (lines.shape[1] + 1))
    data = b"".join([b"\x78\x01", *bands, struct.pack(">I", total)])
    header = struct.pack(">IIBBBBB", width, height, size * 8, kind, 0, 0, 0)
    color = [chunk(b"sRGB", SRGB_PERCEPTUAL)] if srgb else []
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *color, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def joined_adler(first: int, second: int, length: int) -> int:
    """The Adler-32 of two parts together, from that of each and the length of the second."""
    base = 65521
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % base
    high = ((first >> 16) + (second >> 16) + (length % base) * ((first & 0xFFFF) - 1)) % base
    return high << 16 | low
