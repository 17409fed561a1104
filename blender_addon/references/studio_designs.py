# SPDX-License-Identifier: GPL-3.0-or-later
"""The Studio lights: maps that are fitted in the scene's own light alone look wrong in others.

They are what `python -m benchmarks studio_search --lamps 5 --tries 12 --refined 1 --steps 150` found: the lights under which
the noise of Cycles' renders, which grows with their contrast, throws base color, roughness, metallic and normal least far, in
the worst twentieth of sides and materials. No lamp gives a side more than half of its light. They are then made softer. Errors
there with 40 views of 16 samples (benchmarks/results/studio_lights.json), in the order above: 0.026, 0.14, 0.29 and 0.055 rad; in
the two lights that PBRfit had before 0.031, 0.14, 0.32 and 0.082 rad; under a gray sky 0.053, 0.37, 0.69 and 0.076 rad. A
third light made them 5 % smaller in the geometric mean, so there are two.
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
        ((0.63, 0.77, -0.07), (0.88, 0.29, 0.88), 6.0, 2.2),
        ((-0.09, 0.84, 0.54), (0.53, 0.32, 0.63), 137.0, 4.0),
        ((0.96, -0.25, -0.11), (0.58, 0.93, 0.31), 10.0, 5.3),
        ((-0.07, 0.51, 0.86), (0.52, 0.39, 0.41), 95.0, 2.2),
        ((0.51, -0.76, 0.39), (0.28, 0.98, 0.28), 11.0, 6.8),
    ),
    (
        ((-0.1, -0.84, 0.53), (0.9, 0.34, 0.43), 94.0, 2.3),
        ((-0.97, 0.22, -0.03), (0.57, 0.82, 0.4), 16.0, 2.3),
        ((-0.65, 0.44, 0.62), (0.56, 0.94, 0.39), 9.0, 0.72),
        ((-0.63, -0.77, -0.01), (0.77, 0.27, 0.58), 5.0, 2.7),
        ((0.37, -0.92, -0.15), (0.81, 0.27, 0.82), 9.0, 0.86),
    ),
)
SKIES: tuple[tuple[Color, Color, Color], ...] = (
    ((0.21, 0.31, 0.95), (0.28, 0.44, 0.73), (0.92, 0.35, 0.13)),
    ((0.75, 0.92, 0.2), (0.14, 0.66, 0.2), (0.26, 0.91, 0.97)),
)
LIGHTS = len(DESIGNS)


# How far the colors of the search are kept, and its contrasts: what the fit's renderer does not know, light between surfaces
# above all, shows most in bright colored lamps. PSNR of corrected fits of tuning scenes in an unseen light, box with inner light, rough
# metal, mix: as found 33.4, 44.6, 29.2 dB; so 35.0, 43.3, 28.8; the two lights that PBRfit had before 36.6, 41.8, 29.0.
SATURATION, CONTRAST = 0.3, 0.5


def studio_lights(brightness: float) -> NDArray[np.float32]:
    """The lights, linear Rec.709, float32 [LIGHTS, HEIGHT, WIDTH, 3]: equirectangular in Blender's mapping, row 0 at the top.

    brightness: the mean of each, and of each of its colors, over all directions: no light tints what it lights as a whole.
    """
    rows = np.cos(_elevation())[:, None, None] / (np.cos(_elevation()).sum() * WIDTH)
    found = []
    for lamps, sky in zip(DESIGNS, SKIES, strict=True):
        light = shape(lamps, sky)
        light = SATURATION * light + (1.0 - SATURATION) * light.mean(axis=-1, keepdims=True)
        light = CONTRAST * light / (light * rows).sum(axis=(0, 1)) + (1.0 - CONTRAST)
        found.append(brightness * light)
    lights: NDArray[np.float32] = np.stack(found).astype(np.float32)
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
