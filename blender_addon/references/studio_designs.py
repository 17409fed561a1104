# SPDX-License-Identifier: GPL-3.0-or-later
"""Lights for training views besides the scene's own: maps that are fitted in one light alone look wrong in others.

They are made to tell much: each has soft light from everywhere and lamps of several sizes and colors, no two in the same
direction. They are as bright as the scene's own light in the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
Lamp = tuple[Color, Color, float, float]

WIDTH, HEIGHT = 256, 128
# (direction, color, sharpness, strength) of lamps, and colors of the sky above, at the horizon and below; Blender's axes.
DESIGNS: tuple[tuple[Lamp, ...], ...] = (
    (
        ((-0.09, -0.98, -0.19), (1.0, 0.92, 0.26), 50.0, 18.0),
        ((0.23, 0.96, 0.13), (0.87, 0.33, 0.97), 58.0, 22.0),
        ((0.19, 0.82, -0.53), (0.55, 0.28, 0.98), 27.0, 11.0),
        ((-0.32, -0.48, 0.82), (0.27, 0.98, 0.92), 126.0, 22.0),
        ((-0.1, -0.88, 0.47), (0.35, 0.98, 0.27), 18.0, 4.3),
    ),
    (
        ((0.97, -0.22, 0.12), (0.41, 0.28, 1.0), 60.0, 18.0),
        ((-0.79, 0.1, -0.61), (0.38, 0.43, 0.87), 86.0, 17.0),
        ((-0.98, 0.14, -0.1), (0.86, 0.53, 0.94), 127.0, 25.0),
        ((-0.72, 0.51, 0.48), (0.92, 0.93, 0.26), 27.0, 5.6),
        ((0.96, 0.26, -0.05), (0.78, 0.27, 0.97), 73.0, 6.7),
    ),
)
SKIES: tuple[tuple[Color, Color, Color], ...] = (
    ((0.13, 0.94, 0.75), (0.13, 0.32, 0.16), (0.97, 0.12, 0.15)),
    ((0.97, 0.12, 0.11), (0.15, 0.13, 0.11), (0.15, 0.99, 0.11)),
)
LIGHTS = len(DESIGNS)


def studio_lights(brightness: float) -> NDArray[np.float32]:
    """The lights, linear Rec.709, float32 [LIGHTS, HEIGHT, WIDTH, 3]: equirectangular in Blender's mapping, row 0 at the top.

    brightness: the mean of each, and of each of its colors, over all directions: no light tints what it lights as a whole.
    """
    found = [shape(lamps, sky) for lamps, sky in zip(DESIGNS, SKIES, strict=True)]
    rows = np.cos(_elevation())[:, None, None] / (np.cos(_elevation()).sum() * WIDTH)
    lights: NDArray[np.float32] = np.stack(
        [light * (brightness / (light * rows).sum(axis=(0, 1))) for light in found]
    ).astype(np.float32)
    return lights


def shape(lamps: tuple[Lamp, ...], sky: tuple[Color, Color, Color]) -> NDArray[np.float64]:
    """A light of any brightness and tint, [HEIGHT, WIDTH, 3]."""
    elevation = _elevation()
    azimuth = np.pi - (np.arange(WIDTH) + 0.5) / WIDTH * 2.0 * np.pi
    level, up = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    directions = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), up + 0.0 * azimuth], axis=-1)
    above, horizon, below = (np.array(color) for color in sky)
    ends = np.where(up[..., None] > 0.0, above, below)
    light: NDArray[np.float64] = horizon + (ends - horizon) * np.abs(up)[..., None] ** 0.5 + 0.0 * directions
    for direction, color, sharpness, strength in lamps:
        axis = np.array(direction) / np.linalg.norm(direction)
        light = light + strength * np.array(color) * np.exp(sharpness * (directions @ axis - 1.0))[..., None]
    return light


def _elevation() -> NDArray[np.float64]:
    """Of each row, [HEIGHT], in radians."""
    return (0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi
