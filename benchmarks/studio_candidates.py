"""Designs that Studio's are compared with: (direction, color, sharpness, strength) of lamps, and colors of the sky above, at the
horizon and below."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 256, 128

Color = tuple[float, float, float]
Designs = tuple[tuple[tuple[Color, Color, float, float], ...], ...]
Skies = tuple[tuple[Color, Color, Color], ...]

# The lights that PBRfit had before these were measured.
FORMER_DESIGNS: Designs = (
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
FORMER_SKIES: Skies = (
    ((0.25, 0.3, 0.4), (0.5, 0.5, 0.5), (0.2, 0.18, 0.15)),
    ((0.6, 0.65, 0.7), (0.9, 0.85, 0.8), (0.1, 0.12, 0.1)),
)
# Found by descent on the score of studio_lights.py alone, from random starts: few wide lamps of strong colors.
CONDITIONED_DESIGNS: Designs = (
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
CONDITIONED_SKIES: Skies = (
    ((0.21, 0.31, 0.95), (0.28, 0.44, 0.73), (0.92, 0.35, 0.13)),
    ((0.75, 0.92, 0.2), (0.14, 0.66, 0.2), (0.26, 0.91, 0.97)),
)


def shape(lamps: tuple[tuple[Color, Color, float, float], ...], sky: tuple[Color, Color, Color]) -> NDArray[np.float64]:
    """A light of any brightness and tint, [HEIGHT, WIDTH, 3]."""
    elevation = (0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi
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
