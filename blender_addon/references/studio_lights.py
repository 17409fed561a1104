# SPDX-License-Identifier: GPL-3.0-or-later
"""The Studio lights on a stage: worlds that light the views besides the scene's own, see `studio_designs`."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space
from ..common.node_layout import build_world_nodes
from . import rendering
from .stage import Stage
from .studio_designs import HEIGHT, LIGHTS, WIDTH, studio_lights

__all__ = ["LIGHTS", "StudioLights", "studio_lights"]


class StudioLights:
    """The lights of the views that a stage shows: its own world, and Studio lights."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._worlds = [stage.scene.world]

    def make(self) -> NDArray[np.float32]:
        """Make the Studio lights, as bright as the world in the mean; returns them as `studio_lights` does."""
        own = rendering.render_world(self._stage, WIDTH // 2, HEIGHT // 2)
        rows = np.cos((0.5 - (np.arange(len(own)) + 0.5) / len(own)) * np.pi)[:, None, None]
        brightness = float((own * rows).sum() / (np.broadcast_to(rows, own.shape)).sum())
        lights = studio_lights(brightness)
        self._worlds += [image_world(pixels) for pixels in lights]
        return lights

    def use(self, number: int) -> None:
        """Light the next renders by the world (0) or a Studio light."""
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
