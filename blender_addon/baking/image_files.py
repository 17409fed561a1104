# SPDX-License-Identifier: GPL-3.0-or-later
"""Write pixels into files as they are, by Blender."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space

BYTES, SHORTS, FLOATS = 8, 16, 32
"""Bits of each value: PNG of 8 or 16, or EXR of floats."""
END_OF_PNG = b"IEND\xaeB`\x82"


def suffix_of(bits: int) -> str:
    """The ending of a file's name."""
    return ".exr" if bits == FLOATS else ".png"


def write_image(path: Path, values: NDArray[np.float32], bits: int = BYTES) -> None:
    """Write pixels [H, W, 3 or 4], row 0 at the top; 0..1, except floats. Raises OSError, also for a full disk."""
    path.parent.mkdir(exist_ok=True)
    height, width, channels = values.shape
    if shutil.disk_usage(path.parent).free < 2 * values.nbytes:
        raise no_room()
    image = bpy.data.images.new(path.stem, width, height, alpha=channels == 4, float_buffer=bits != BYTES, is_data=True)
    try:
        image.colorspace_settings.name = data_space()
        image.alpha_mode = "CHANNEL_PACKED"
        pixels = np.ones((height, width, 4), np.float32)
        pixels[..., :channels] = values[::-1]
        image.pixels.foreach_set(pixels.ravel())
        if bits == SHORTS:
            save_shorts(image, path)
        else:
            image.file_format = "OPEN_EXR" if bits == FLOATS else "PNG"
            image.filepath_raw = str(path)
            image.save()
        if bits != FLOATS and not path.read_bytes().endswith(END_OF_PNG):
            raise no_room()
    finally:
        bpy.data.images.remove(image)


def no_room() -> OSError:
    """The error that a disk is full, which Blender does not report."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_shorts(image: bpy.types.Image, path: Path) -> None:
    """Save an image of floats as a PNG of 16 bits, which Blender does only with the settings of a scene."""
    scene = bpy.data.scenes.new("PBRfit output")
    try:
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "16"
        settings.color_management = "OVERRIDE"
        settings.view_settings.view_transform = "Raw"  # of every configuration that Blender comes with, and of ACES
        image.save_render(str(path), scene=scene)
    finally:
        bpy.data.scenes.remove(scene)
