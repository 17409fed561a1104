# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a fit as the texels with which a round of correction begins: what Cycles renders, read back from its files."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color import linear_from_srgb
from ..common.color_spaces import data_space
from ..protocol.map_shape import MapSize, Resolution, map_size

MAPS = ("kd", "orm", "normal")
CHANNELS = 9


def texels_of(candidate: dict[str, Any], resolution: Resolution) -> dict[str, NDArray[np.float16]]:
    """The texels of each set of maps, float16 [H, W, 9], row 0 at the top, by the names of arrays on the wire.

    Linear Rec.709 base color, roughness, metallic, unit normal in tangent space (OpenGL), alpha. candidate: of a fit, as in
    candidate.py, with its maps in that resolution. They are as exact as the files: 8 bits, 16 for normals.
    """
    count = len(candidate["recipes"])
    found, size = {}, map_size(resolution)
    for number in range(count):
        prefix = f"{number}/" if count > 1 else ""
        kd, orm, normal = (read(candidate["files"][f"{prefix}{name}.png"], size) for name in MAPS)
        texels = np.empty((*size, CHANNELS), np.float16)
        texels[..., 0:3] = linear_from_srgb(kd[..., :3])
        texels[..., 3:5] = orm[..., 1:3]
        vectors = normal[..., :3] * 2.0 - 1.0
        texels[..., 5:8] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
        texels[..., 8] = kd[..., 3]
        found[f"start_{number}"] = texels
    return found


def read(path: str, size: MapSize) -> NDArray[np.float32]:
    """The stored values of an image file of this height and width, 0..1, float32 [H, W, 4], row 0 at the top."""
    image = bpy.data.images.load(path)
    try:
        image.colorspace_settings.name = data_space()
        image.alpha_mode = "CHANNEL_PACKED"
        pixels = np.empty(size[0] * size[1] * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(*size, 4)[::-1]
