# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files of pixels as they are: TIFF and OpenEXR, in every thread; `png` in `protocol` makes the others.

Blender's own writing divides colors by alpha, which destroys what a layout packs beside an alpha of 0; it has view
transforms in between, and it works in the main thread only.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.png import LEVEL, Run, one_by_one

Pixels = NDArray[Any]
"""[height, width, 1, 3 or 4], row 0 at the top: uint8 or uint16, for OpenEXR float16 or float32."""
EXR_ROWS = 16  # of a block that is compressed as a whole: OpenEXR's ZIP
TIFF_ROWS = 64


# TIFF ---------------------------------------------------------------------------------------------------------------


def tiff(pixels: Pixels, opacity: bool, run: Run = one_by_one) -> bytes:
    """A TIFF, deflated. opacity: whether a fourth channel says how opaque the color is, which is not multiplied by it."""
    height, width, channels = pixels.shape
    bits = pixels.dtype.itemsize * 8
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    tops = range(0, height, TIFF_ROWS)

    def strip(top: int) -> bytes:
        part = little[top : top + TIFF_ROWS]
        differences = part.copy()
        differences[:, 1:] -= part[:, :-1]
        return zlib.compress(differences.tobytes(), LEVEL)

    strips = run(strip, tops)
    offsets, place = [], 8
    for data in strips:
        offsets.append(place)
        place += len(data) + len(data) % 2
    entries = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [bits] * channels),
        (259, "H", [8]),  # deflate
        (262, "H", [1 if channels == 1 else 2]),  # gray, RGB
        (273, "I", offsets),
        (277, "H", [channels]),
        (278, "I", [TIFF_ROWS]),
        (279, "I", [len(data) for data in strips]),
        (284, "H", [1]),  # the channels of a pixel together
        (317, "H", [2]),  # differences from the pixel to the left
        *([(338, "H", [2 if opacity else 0])] if channels == 4 else []),
        (339, "H", [1] * channels),  # whole numbers from 0
    ]
    padded = b"".join(data + b"\0" * (len(data) % 2) for data in strips)
    return b"II*\0" + struct.pack("<I", place) + padded + directory(entries, place)


def directory(entries: list[tuple[int, str, list[int]]], place: int) -> bytes:
    """The directory of a TIFF that stands at a place in the file: number, type (H: 16 bits, I: 32) and values of each."""
    beyond = place + 2 + 12 * len(entries) + 4
    lines, further = [], b""
    for number, kind, values in entries:
        data = struct.pack(f"<{len(values)}{kind}", *values)
        if len(data) > 4:
            value = struct.pack("<I", beyond + len(further))
            further += data + b"\0" * (len(data) % 2)
        else:
            value = data.ljust(4, b"\0")
        lines.append(struct.pack("<HHI", number, {"H": 3, "I": 4}[kind], len(values)) + value)
    return struct.pack("<H", len(lines)) + b"".join(lines) + struct.pack("<I", 0) + further


# OpenEXR ------------------------------------------------------------------------------------------------------------


def exr(pixels: Pixels, run: Run = one_by_one) -> bytes:
    """An OpenEXR file of half floats or floats, compressed by ZIP; one channel is Y, several are R, G, B, A."""
    height, width, channels = pixels.shape
    names = {1: ["Y"], 3: ["B", "G", "R"], 4: ["A", "B", "G", "R"]}[channels]  # in the order of the alphabet
    ordered = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)[..., ::-1]
    tops = range(0, height, EXR_ROWS)

    def block(top: int) -> bytes:
        raw = np.ascontiguousarray(ordered[top : top + EXR_ROWS].transpose(0, 2, 1)).view(np.uint8).ravel()
        halves = np.concatenate([raw[0::2], raw[1::2]])
        predicted = halves.copy()
        predicted[1:] = halves[1:] - halves[:-1] + np.uint8(128)
        data = zlib.compress(predicted.tobytes(), LEVEL)
        data = data if len(data) < len(raw) else raw.tobytes()
        return struct.pack("<iI", top, len(data)) + data

    blocks = run(block, tops)
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    kind = 1 if pixels.dtype.itemsize == 2 else 2
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", kind, 0, 1, 1) for name in names) + b"\0"
    header = b"".join(
        [
            struct.pack("<II", 20000630, 2),
            attribute("channels", "chlist", listed),
            attribute("compression", "compression", b"\x03"),
            attribute("dataWindow", "box2i", window),
            attribute("displayWindow", "box2i", window),
            attribute("lineOrder", "lineOrder", b"\x00"),
            attribute("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
            attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0)),
            attribute("screenWindowWidth", "float", struct.pack("<f", 1.0)),
            b"\0",
        ]
    )
    table = struct.pack(f"<{len(blocks)}Q", *places(blocks, len(header) + 8 * len(blocks)))
    return b"".join([header, table, *blocks])


def attribute(name: str, kind: str, data: bytes) -> bytes:
    """An attribute of an OpenEXR header."""
    return b"\0".join([name.encode(), kind.encode(), struct.pack("<i", len(data)) + data])


def places(parts: list[bytes], start: int) -> Iterator[int]:
    """Where each part stands in a file, if they follow each other from `start` on."""
    for part in parts:
        yield start
        start += len(part)
