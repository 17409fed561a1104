# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a result with the color space that shows them right, in whatever way Blender's configuration names its own.

Maps of color are sRGB, lights are linear Rec.709. Where the configuration has no such color space, the pixels are made scene
linear: that one always exists.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..common.color import linear_from_srgb
from ..common.color_spaces import (
    Meaning,
    data_space,
    linear_rec709_space,
    scene_linear_space,
    srgb_space,
    to_scene_linear,
)

ColoredFiles = tuple[str, str, dict[int, bytes]]
"""A color space, the suffix of files, and their bytes by UDIM tile ({0: bytes} without tiles)."""


def colored(files: dict[int, bytes], suffix: str, meaning: Meaning | None) -> ColoredFiles:
    """The color space for files of values with this meaning (None: numbers), and the files: others where there is none."""
    if meaning is None:
        return data_space(), suffix, files
    known = {Meaning.SRGB: srgb_space, Meaning.LINEAR_REC709: linear_rec709_space}[meaning]()
    if known is not None:
        return known, suffix, files
    return scene_linear_space(), ".exr", {tile: scene_linear_file(data, meaning) for tile, data in files.items()}


def scene_linear_file(data: bytes, meaning: Meaning) -> bytes:
    """An image's file as one of scene-linear floats (EXR, with alpha multiplied in), from sRGB or from linear Rec.709."""
    source = bpy.data.images.new("PBRfit", 1, 1)
    image = None
    try:
        source.pack(data=data, data_len=len(data))
        source.source = "FILE"
        source.alpha_mode = "CHANNEL_PACKED"
        source.colorspace_settings.name = data_space()
        width, height = source.size
        pixels = np.empty(width * height * source.channels, dtype=np.float32)
        source.pixels.foreach_get(pixels)
        pixels = pixels.reshape(-1, source.channels)
        alpha = pixels[:, 3:] if source.channels == 4 else np.ones_like(pixels[:, :1])
        color = linear_from_srgb(pixels[:, :3]) if meaning is Meaning.SRGB else pixels[:, :3]
        image = bpy.data.images.new("PBRfit", width, height, alpha=True, float_buffer=True)
        image.colorspace_settings.name = scene_linear_space()
        image.pixels.foreach_set(np.concatenate([to_scene_linear(color) * alpha, alpha], axis=-1).ravel())
        image.pack()
        return bytes(image.packed_file.data)
    finally:
        bpy.data.batch_remove([found for found in (source, image) if found is not None])
