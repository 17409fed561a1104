# SPDX-License-Identifier: GPL-3.0-or-later
"""The Studio lights: maps that are fitted in the scene's own light alone look wrong in others.

Each has sixteen lamps over a soft ground, on all sides, from 3 to 15 degrees wide (to half radiance), as different in color and
strength as given here; most of the light comes from them. That a texel's unknowns can be told apart near the truth
(benchmarks/results/studio_lights.json) is not enough: a fit must not end elsewhere either, with metal taken for bright rough
paint. What tells them apart from afar is many distinct highlights. PSNR of corrected fits of tuning scenes in an unseen light,
for a box that lights its inside, rough metal, and metal painted in patches:

| lights | box | rough metal | painted metal |
| --- | --- | --- | --- |
| few wide lamps, found by the conditioning of the unknowns alone and made softer | 35.0 | 43.3 | 26.4 |
| three or four lamps over a bright sky, as PBRfit had before | 36.6 | 41.8 | 30.9 |
| six lamps, 90 % of the light | 32.3 | 40.6 | 36.1 |
| ten lamps, 85 % of the light | 34.7 | 41.3 | 37.5 |
| ten lamps, 65 % of the light | 36.2 | 41.2 | 35.8 |
| these | 35.6 | 42.0 | 37.3 |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
Lamp = tuple[Color, Color, float, float]

WIDTH, HEIGHT = 256, 128
# (direction, color, sharpness, share of the light) of lamps, in Blender's axes: the directions of a golden spiral, and all else
# by chance.
LAMPS: tuple[tuple[Lamp, ...], ...] = (
    (
        ((0.36, 0.05, 0.93), (0.51, 1.20, 1.29), 19.0, 1.60),
        ((-0.61, 0.35, 0.71), (1.41, 1.03, 0.56), 167.0, 2.74),
        ((0.09, -0.65, 0.76), (0.57, 1.43, 0.99), 69.0, 0.62),
        ((0.39, 0.70, 0.59), (0.53, 1.38, 1.09), 29.0, 1.15),
        ((-0.86, -0.29, 0.43), (1.49, 0.68, 0.83), 258.0, 0.72),
        ((0.77, -0.60, 0.21), (0.86, 0.66, 1.48), 108.0, 1.09),
        ((-0.58, 0.81, -0.10), (1.08, 1.38, 0.54), 207.0, 0.44),
        ((-0.42, -0.90, 0.09), (1.43, 0.58, 0.99), 400.0, 0.67),
        ((0.87, 0.29, -0.40), (0.72, 0.79, 1.49), 36.0, 0.87),
        ((-0.93, 0.34, -0.16), (1.45, 0.60, 0.95), 134.0, 1.88),
        ((0.16, -0.88, -0.44), (1.44, 0.58, 0.98), 86.0, 2.23),
        ((0.13, 0.87, -0.48), (1.43, 0.57, 1.00), 15.0, 0.40),
        ((-0.71, -0.28, -0.64), (1.17, 1.32, 0.51), 56.0, 0.57),
        ((0.71, -0.14, -0.69), (1.32, 0.51, 1.16), 45.0, 1.57),
        ((-0.55, 0.52, -0.65), (1.45, 0.60, 0.95), 321.0, 0.25),
        ((-0.28, -0.22, -0.93), (1.34, 0.52, 1.15), 23.0, 0.72),
    ),
    (
        ((-0.22, 0.18, 0.96), (1.49, 0.82, 0.69), 56.0, 1.57),
        ((-0.47, -0.57, 0.68), (0.79, 1.49, 0.72), 15.0, 5.91),
        ((0.57, 0.00, 0.82), (0.56, 1.42, 1.02), 258.0, 1.73),
        ((-0.29, 0.78, 0.56), (0.76, 0.75, 1.49), 134.0, 0.92),
        ((0.06, -0.89, 0.45), (1.43, 1.00, 0.57), 207.0, 1.04),
        ((0.70, 0.55, 0.46), (1.27, 0.51, 1.23), 19.0, 0.59),
        ((-0.98, -0.03, 0.21), (1.47, 0.62, 0.91), 69.0, 2.15),
        ((0.64, -0.77, 0.10), (0.76, 1.49, 0.75), 23.0, 0.79),
        ((-0.10, 0.99, -0.09), (0.95, 1.45, 0.60), 45.0, 3.43),
        ((-0.48, -0.88, 0.04), (0.57, 1.43, 1.00), 321.0, 0.79),
        ((0.91, -0.20, -0.37), (1.49, 0.83, 0.68), 36.0, 0.78),
        ((-0.76, 0.58, -0.29), (0.60, 0.95, 1.45), 400.0, 0.75),
        ((0.32, -0.67, -0.67), (1.30, 0.51, 1.19), 167.0, 1.55),
        ((0.13, 0.71, -0.70), (0.90, 0.63, 1.47), 108.0, 1.14),
        ((-0.65, -0.33, -0.68), (1.01, 1.42, 0.56), 86.0, 2.61),
        ((0.37, -0.01, -0.93), (1.26, 1.24, 0.51), 29.0, 0.68),
    ),
)
LIGHTS = len(LAMPS)
OF_LAMPS = 0.85  # the share of the light
BRIGHTER_ABOVE = 0.3  # of the ground


def studio_lights(brightness: float) -> NDArray[np.float32]:
    """The lights, linear Rec.709, float32 [LIGHTS, HEIGHT, WIDTH, 3]: equirectangular in Blender's mapping, row 0 at the top.

    brightness: the mean of each, and of each of its colors, over all directions: no light tints what it lights as a whole.
    """
    elevation = (0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi
    azimuth = np.pi - (np.arange(WIDTH) + 0.5) / WIDTH * 2.0 * np.pi
    level, up = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    directions = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), up + 0.0 * azimuth], axis=-1)
    solid_angles = level[..., None] / (level.sum() * WIDTH)
    ground = 1.0 + BRIGHTER_ABOVE * directions[..., 2:]
    found = []
    for lamps in LAMPS:
        shining = np.zeros_like(directions)
        for direction, color, sharpness, share in lamps:
            axis = np.array(direction) / np.linalg.norm(direction)
            # The integral of this over all directions falls as the sharpness grows.
            shining += share * sharpness * np.array(color) * np.exp(sharpness * (directions @ axis - 1.0))[..., None]
        shining /= (shining * solid_angles).sum(axis=(0, 1))
        found.append(brightness * (OF_LAMPS * shining + (1.0 - OF_LAMPS) * ground))
    lights: NDArray[np.float32] = np.stack(found).astype(np.float32)
    return lights
