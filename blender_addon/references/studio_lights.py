# SPDX-License-Identifier: GPL-3.0-or-later
"""The Studio lights on a stage: worlds that light the views besides the scene's own, see `studio_designs`."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space
from ..common.node_layout import build_world_nodes
from .stage import Stage
from .studio_designs import LIGHTS, studio_lights

__all__ = ["BRIGHTNESS", "LIGHTS", "StudioLights", "studio_lights"]

# Of each light in the mean, whatever the scene's own has: the fit's errors count as seen at this brightness. At a tenth of it
# the unknowns are told apart half as well, at twice as much hardly better.
BRIGHTNESS = 1.0


class StudioLights:
    """The lights of the views that a stage shows: its own world and the Studio lights, or those alone."""

    def __init__(self, stage: Stage, alone: bool = False) -> None:
        self._stage = stage
        self._worlds = [] if alone else [stage.scene.world]

    def make(self) -> NDArray[np.float32]:
        """Make the Studio lights; returns them as `studio_lights` does."""
        lights = studio_lights(BRIGHTNESS)
        self._worlds += [image_world(pixels) for pixels in lights]
        return lights

    def use(self, number: int) -> None:
        """Light the next renders by a light of this number: the world is the first, if it counts."""
        self._stage.scene.world = self._worlds[number]


def image_world(light: NDArray[np.float32]) -> bpy.types.World:
    """A new world that shows an equirectangular image float32 [H, W, 3], linear Rec.709, row 0 at the top."""
    height, width = light.shape[:2]
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = light[::-1]
    image = bpy.data.images.new("PBRfit light", width, height, float_buffer=True, is_data=True)
    image.colorspace_settings.name = data_space()
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    world = bpy.data.worlds.new("PBRfit Studio light")
    build_world_nodes(world, image, "Light")
    return world
