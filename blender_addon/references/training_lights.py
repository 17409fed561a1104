# SPDX-License-Identifier: GPL-3.0-or-later
"""Lights for training views besides the scene's own: maps that are fitted in one light alone look wrong in others.

They are made to tell much: each has soft light from everywhere and lamps of several sizes and colors, no two in the same
direction. They are as bright as the scene's own light in the mean.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space
from ..common.node_layout import build_world_nodes
from . import rendering
from .stage import Stage

WIDTH, HEIGHT = 256, 128
# (direction, color, sharpness, strength) of lamps, and colors of the sky above, at the horizon and below; Blender's axes.
DESIGNS = (
    (
        ((0.7, -0.5, 0.6), (1.0, 0.85, 0.65), 120.0, 14.0),
        ((-0.8, -0.3, 0.3), (0.55, 0.7, 1.0), 9.0, 1.6),
        ((0.1, 0.9, 0.5), (0.9, 1.0, 0.9), 40.0, 4.0),
        ((0.3, -0.2, -0.9), (1.0, 0.6, 0.5), 6.0, 0.5),
    ),
    (
        ((-0.6, 0.6, 0.7), (1.0, 0.95, 0.9), 250.0, 20.0),
        ((0.9, 0.4, 0.1), (1.0, 0.6, 0.4), 20.0, 2.5),
        ((-0.2, -0.95, 0.2), (0.6, 0.75, 1.0), 12.0, 1.8),
    ),
)
SKIES = (((0.25, 0.3, 0.4), (0.5, 0.5, 0.5), (0.2, 0.18, 0.15)), ((0.6, 0.65, 0.7), (0.9, 0.85, 0.8), (0.1, 0.12, 0.1)))
LIGHTS = len(DESIGNS)


def training_lights(brightness: float) -> NDArray[np.float32]:
    """The lights, linear Rec.709, float32 [LIGHTS, HEIGHT, WIDTH, 3]: equirectangular in Blender's mapping, row 0 at the top.

    brightness: the mean of each over all directions and colors.
    """
    elevation = (0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi
    azimuth = np.pi - (np.arange(WIDTH) + 0.5) / WIDTH * 2.0 * np.pi
    level, up = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    directions = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), up + 0.0 * azimuth], axis=-1)
    weights = np.broadcast_to(level[..., None], directions.shape)
    found = []
    for lamps, (above, horizon, below) in zip(DESIGNS, SKIES, strict=True):
        ends = np.where(up[..., None] > 0.0, above, below)
        light = horizon + (ends - np.array(horizon)) * np.abs(up)[..., None] ** 0.5 + 0.0 * directions
        for direction, color, sharpness, strength in lamps:
            axis = np.array(direction) / np.linalg.norm(direction)
            light = light + strength * np.array(color) * np.exp(sharpness * (directions @ axis - 1.0))[..., None]
        found.append(light * (brightness * weights.sum() / (light * weights).sum()))
    lights: NDArray[np.float32] = np.stack(found).astype(np.float32)
    return lights


class TrainingLights:
    """The lights of the views that a stage shows: its own world and training lights, or those alone."""

    def __init__(self, stage: Stage, alone: bool = False) -> None:
        self._stage, self._alone = stage, alone
        self._worlds = [] if alone else [stage.scene.world]

    def make(self) -> NDArray[np.float32]:
        """Make the training lights, as bright as the world in the mean, or 1; returns them as `training_lights` does."""
        if self._alone:
            return self._add(training_lights(1.0))
        own = rendering.render_world(self._stage, WIDTH // 2, HEIGHT // 2)
        rows = np.cos((0.5 - (np.arange(len(own)) + 0.5) / len(own)) * np.pi)[:, None, None]
        brightness = float((own * rows).sum() / (np.broadcast_to(rows, own.shape)).sum())
        return self._add(training_lights(brightness))

    def _add(self, lights: NDArray[np.float32]) -> NDArray[np.float32]:
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
    world = bpy.data.worlds.new("PBRfit training light")
    build_world_nodes(world, image, "Light")
    return world
