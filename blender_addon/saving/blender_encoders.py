# SPDX-License-Identifier: GPL-3.0-or-later
"""JPEG and WebP files of pixels as they are, by Blender, which has the libraries for these."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space
from ..common.errors import PbrFitError

KINDS = {"jpeg": "JPEG", "webp": "WEBP"}


def encoded_by_blender(pixels: NDArray[np.uint8] | NDArray[Any], format_name: str, quality: int) -> bytes:
    """A file of bytes [H, W, 1, 3 or 4], row 0 at the top. quality: 1 to 100; a WebP of 100 has every value exactly.

    Raises PbrFitError if it cannot be written.
    """
    height, width, channels = pixels.shape
    image = bpy.data.images.new("PBRfit", width, height, alpha=channels == 4, is_data=True)
    scene = bpy.data.scenes.new("PBRfit output")
    try:
        image.colorspace_settings.name = data_space()
        image.alpha_mode = "CHANNEL_PACKED"
        values = np.ones((height, width, 4), np.float32)
        values[..., : max(3, channels)] = pixels[::-1] / np.float32(255.0)
        image.pixels.foreach_set(values.ravel())
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.quality = KINDS[format_name], quality
        settings.color_mode = {1: "BW" if format_name == "jpeg" else "RGB", 3: "RGB", 4: "RGBA"}[channels]
        settings.color_management = "OVERRIDE"
        settings.view_settings.view_transform = "Raw"  # of every configuration that Blender comes with, and of ACES
        with tempfile.TemporaryDirectory(prefix="pbrfit_maps_", dir=bpy.app.tempdir or None) as folder:
            path = Path(folder, f"map.{format_name}")
            image.save_render(str(path), scene=scene)
            return path.read_bytes()
    except (OSError, RuntimeError) as error:
        raise PbrFitError(f"A {format_name.upper()} cannot be written: {error}.", "Make room on the disk.") from error
    finally:
        bpy.data.images.remove(image)
        bpy.data.scenes.remove(scene)
