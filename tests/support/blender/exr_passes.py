"""Reads the passes that Blender writes into a multilayer EXR without compression: only what the tests need."""

from __future__ import annotations

import struct
from pathlib import Path

import bpy
import numpy as np

SIZES = {0: 4, 1: 2, 2: 4}  # of the pixel types uint, half and float
DTYPES = {0: "<u4", 1: "<f2", 2: "<f4"}


def write_passes(path: Path) -> None:
    """Set up the next render so that `read_passes` can read its file."""
    image = bpy.context.scene.render.image_settings
    if bpy.app.version >= (5, 0, 0):
        image.media_type = "MULTI_LAYER_IMAGE"
    image.file_format = "OPEN_EXR_MULTILAYER"
    image.color_depth = "32"
    image.exr_codec = "NONE"
    if hasattr(image, "use_exr_interleave"):
        image.use_exr_interleave = True  # one part, as Blender 4 writes it
    bpy.context.scene.render.filepath = str(path)


def read_passes(path: Path) -> dict[str, np.ndarray]:
    """The passes by name, float32 [h, w, channels], row 0 at the top, channels in Blender's order (RGBA, XYZ)."""
    data = path.read_bytes()
    magic, version = struct.unpack_from("<II", data)
    assert magic == 20000630
    assert not version & 0x1000, "several parts are not read"
    place = 8
    channels: list[tuple[str, int]] = []
    window = (0, 0, 0, 0)
    while data[place] != 0:
        name, place = _text(data, place)
        _, place = _text(data, place)
        (size,) = struct.unpack_from("<i", data, place)
        place += 4
        if name == "channels":
            channels = _channels(data[place : place + size])
        elif name == "compression":
            assert data[place] == 0, "compressed"
        elif name == "dataWindow":
            window = struct.unpack_from("<4i", data, place)
        place += size
    width, height = window[2] - window[0] + 1, window[3] - window[1] + 1
    offsets = struct.unpack_from(f"<{height}Q", data, place + 1)
    planes = {name: np.empty((height, width), np.float32) for name, _ in channels}
    for offset in offsets:
        row = struct.unpack_from("<i", data, offset)[0] - window[1]
        at = offset + 8
        for name, kind in channels:
            planes[name][row] = np.frombuffer(data, DTYPES[kind], width, at)
            at += width * SIZES[kind]
    passes: dict[str, dict[str, np.ndarray]] = {}
    for name, plane in planes.items():
        *_, image, channel = name.split(".")
        passes.setdefault(image, {})[channel] = plane
    return {
        name: np.stack([found[channel] for channel in sorted(found, key="RGBAVXYZ".index)], axis=-1)
        for name, found in passes.items()
    }


def _text(data: bytes, place: int) -> tuple[str, int]:
    end = data.index(0, place)
    return data[place:end].decode(), end + 1


def _channels(data: bytes) -> list[tuple[str, int]]:
    found, place = [], 0
    while data[place] != 0:
        name, place = _text(data, place)
        found.append((name, struct.unpack_from("<i", data, place)[0]))
        place += 16
    return found
