# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of images as the values that are stored in them, by Blender."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from .color_spaces import data_space

Array = NDArray[np.float32]


def decoded(data: bytes, multiplied: bool) -> Array:
    """The values of an image's file as they are stored, [H, W, C], row 0 at the top. multiplied: colors are by alpha, which
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
        values = pixels.reshape(height, width, image.channels)[::-1]
    finally:
        bpy.data.images.remove(image)
    if multiplied and values.shape[-1] == 4:
        alpha = values[..., 3:]
        np.divide(values[..., :3], alpha, out=values[..., :3], where=alpha > 0.0)
    return values
