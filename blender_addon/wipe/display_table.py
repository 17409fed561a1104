# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scene's view transform makes of a color, as a table that a shader can read.

Blender lends its display shader to render engines only. So Blender itself converts the colors of a table, which has more of
them where values are small: AgX, Filmic and Standard differ from it by less than 4 codes of 255, 0.2 on average.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space, to_scene_linear

SIDE = 33
FEWEST_STOPS, MOST_STOPS = -12.0, 4.0
"""The colors of the table, in powers of two; the first one stands for black."""
COPIED = ("view_transform", "look", "exposure", "gamma")


def display_key(scene: bpy.types.Scene) -> Hashable:
    """Equal for scenes whose colors are displayed in the same way. Curves of the scene's own are left out."""
    return (scene.display_settings.display_device, *(getattr(scene.view_settings, name) for name in COPIED))


def display_table(scene: bpy.types.Scene) -> NDArray[np.float32]:
    """Display values float32 [SIDE * SIDE, SIDE, 4] of linear Rec.709 colors: red grows along a row, green from row to row, and
    blue every SIDE rows. Not for use while something is drawn, since it makes datablocks for a moment."""
    axis = np.exp2(np.linspace(FEWEST_STOPS, MOST_STOPS, SIDE)).astype(np.float32)
    axis[0] = 0.0
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    colors = np.stack([red, green, blue], axis=-1).reshape(SIDE * SIDE, SIDE, 3)
    return displayed(np.concatenate([to_scene_linear(colors), np.ones_like(colors[..., :1])], axis=-1), scene)


def displayed(pixels: NDArray[np.float32], scene: bpy.types.Scene) -> NDArray[np.float32]:
    """What Blender makes of scene linear pixels float32 [h, w, 4] for the display: float32 [h, w, 4]."""
    height, width = pixels.shape[:2]
    output = bpy.data.scenes.new("PBRfit display")
    image = bpy.data.images.new("PBRfit display", width, height, float_buffer=True)
    written = None
    try:
        output.display_settings.display_device = scene.display_settings.display_device
        for name in COPIED:
            setattr(output.view_settings, name, getattr(scene.view_settings, name))
        settings = output.render.image_settings
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "16"
        settings.compression = 0
        image.pixels.foreach_set(np.ascontiguousarray(pixels, np.float32).ravel())
        with tempfile.TemporaryDirectory(prefix="pbrfit-") as folder:
            path = Path(folder, "display.png")
            image.save_render(str(path), scene=output)
            written = bpy.data.images.load(str(path))
            written.colorspace_settings.name = data_space()
            values = np.empty(width * height * 4, np.float32)
            written.pixels.foreach_get(values)
    finally:
        bpy.data.images.remove(image)
        if written is not None:
            bpy.data.images.remove(written)
        bpy.data.scenes.remove(output)
    return values.reshape(height, width, 4)
