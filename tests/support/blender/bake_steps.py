"""Steps of tests that follow a bake: scenes that bake fast, and the button."""

from __future__ import annotations

import bpy
import numpy as np
from support.blender.scenes import paint, show_image

BACKEND_THREAD = "pbrfit-client"


def small_bake() -> None:
    """Settings of a bake that takes seconds."""
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.supersampling = 64, "1"


def chessboard(material: bpy.types.Material, size: int = 8) -> bpy.types.Image:
    """Give a material an image of black and white texels as base color."""
    image = bpy.data.images.new("Chessboard", size, size)
    pixels = np.ones((size, size, 4), dtype=np.float32)
    pixels[..., :3] = (np.indices((size, size)).sum(axis=0) % 2)[..., None]
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    show_image(material, image)
    return image


def chessboard_cube() -> bpy.types.Object:
    """A cube with such a base color, and nothing that lights it."""
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    chessboard(paint(cube))
    return cube


def start_bake(addon):
    """Press the button; returns the session."""
    assert bpy.ops.pbrfit.bake_maps() == {"FINISHED"}
    return addon.session.session.current()


def baker_of(session):
    """The process of the second Blender."""
    return session._open_baker._process
