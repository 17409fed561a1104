# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preview hands to the GPU, as numpy arrays: uniform blocks (see sources.py), maps and the table of the lobe.

`ggx_table.npy` is `render.bsdf.ggx.ggx_table().values[0].permute(1, 2, 0)`, float32 [48, 48, 8], as `numpy.save` wrote it;
`sheen_table.npy` is `render.bsdf.sheen.sheen_table()[0]` in the same way.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.color import linear_from_srgb
from .sources import CHANNELS, MOST_LEVELS, MOST_MAPS

SMALLEST_LEVEL = 4  # as in `render.texture.fixed_lookup.mip_count`

# Coat, sheen and emission of a look that has none, or that leaves them out.
NO_LOBES: dict[str, Any] = {
    "coat": 0.0,
    "coat_roughness": 0.0,
    "sheen": 0.0,
    "sheen_tint": (1.0, 1.0, 1.0),
    "sheen_roughness": 0.5,
    "emission": (0.0, 0.0, 0.0),
    "emission_strength": 1.0,
}

Size = tuple[float, float, float, float]  # of a texture: width and height (of a strip), number of levels, 0


def table_pixels(name: str) -> NDArray[np.float32]:
    """The table "ggx_table" or "sheen_table", float32 [48, 96, 4]: two texels side by side for the eight terms of a node."""
    table: NDArray[np.float32] = np.load(
        str(importlib.resources.files(__package__) / f"{name}.npy"), allow_pickle=False
    )
    return table.reshape(table.shape[0], -1, 4)


@lru_cache(maxsize=1)
def srgb_table() -> NDArray[np.float32]:
    """Linear values, float32 [256], of bytes in sRGB."""
    values = np.arange(256, dtype=np.float64) / 255
    return linear_from_srgb(values).astype(np.float32)


def linear_pixels(pixels: NDArray[Any], encoding: str) -> NDArray[np.float32]:
    """Linear float32 [h, w, 4] of pixels, uint8 or float32 [h, w, 4]; alpha is never encoded."""
    if pixels.dtype != np.uint8:
        return pixels.astype(np.float32)
    if encoding == "linear":
        return pixels * np.float32(1 / 255)
    linear = srgb_table().take(pixels)
    linear[..., 3] = pixels[..., 3] * np.float32(1 / 255)
    return linear


def strip_of(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Pixels float32 [h, w, 4] with their coarser levels at their right, [h, w + w // 2, 4], and the number of levels.

    Each texel of a coarser level is the mean of four. A strip is needed because Python cannot give Blender a texture's levels.
    """
    height, width = pixels.shape[:2]
    strip = np.empty((height, width + width // 2, 4), dtype=np.float32)  # nobody reads what is beside the levels
    strip[:, :width] = pixels
    level, top, count = pixels, 0, 1
    while min(level.shape[:2]) // 2 >= SMALLEST_LEVEL and not any(side % 2 for side in level.shape[:2]):
        rows = level[0::2] + level[1::2]
        level = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
        strip[top : top + level.shape[0], width : width + level.shape[1]] = level
        top += level.shape[0]
        count += 1
    return strip, count


def window(size: tuple[int, int], tile: tuple[int, int, int, int]) -> NDArray[np.float64]:
    """The matrix from device coordinates of an image of `size` to those of its tile (left, bottom, width, height)."""
    (width, height), (left, bottom, wide, high) = size, tile
    window = np.diag([width / wide, height / high, 1.0, 1.0])
    window[0, 3] = (width - 2 * left - wide) / wide
    window[1, 3] = (height - 2 * bottom - high) / high
    return window


def frame_values(
    turn: NDArray[np.float64],
    upright: NDArray[np.float64],
    size: tuple[int, int],
    tile: tuple[int, int, int, int],
    channel: str,
    spp: int,
    irradiance: NDArray[np.float32],
    places: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The uniform block `frame`."""
    values = np.zeros((17 + MOST_LEVELS, 4), dtype=np.float32)
    is_point = upright[3, 3] == 0
    backward = turn[2, :3]
    levels = len(places)
    values[0] = CHANNELS.index(channel), spp, levels, 0.0
    values[1] = (0.0, 0.0, 0.0, 1.0) if is_point else (*backward, 0.0)
    values[2, :3] = -backward
    if is_point:
        # On the plane z = -1 of the camera, where w is 1.
        middle = np.linalg.solve(upright[:2, :2], upright[:2, 2] - upright[:2, 3])
        across = np.linalg.inv(upright[:2, :2])
        values[3, :3] = turn[:3, :3].T @ np.array([*middle, -1.0])
        values[4, :3] = turn[:2, :3].T @ across[:, 0]
        values[5, :3] = turn[:2, :3].T @ across[:, 1]
    else:
        values[3, :3] = -backward
    left, bottom, wide, high = tile
    values[6, :2] = left, bottom
    corners = np.array([left / size[0], bottom / size[1], (left + wide) / size[0], (bottom + high) / size[1]])
    values[7] = corners * 2 - 1
    values[8:17] = irradiance
    values[17 : 17 + levels] = places
    return values.reshape(-1)


def part_values(
    matrix: NDArray[Any],
    eye: NDArray[np.float64],
    clip: NDArray[np.float64],
    constants: Mapping[str, Any],
    sizes: Sequence[Size],
) -> NDArray[np.float32]:
    """The uniform block `part`. constants: values of the look; coat, sheen and emission may be absent."""
    constants = NO_LOBES | dict(constants)
    place = np.array(matrix, dtype=np.float64)
    place[:3, 3] -= eye
    turn = np.eye(4)
    determinant = np.linalg.det(place[:3, :3])
    # The inverse transpose, except for its length. A flattened part has no inverse; there any normal will do.
    turn[:3, :3] = np.linalg.inv(place[:3, :3]).T if determinant else place[:3, :3]
    values = np.zeros((17 + MOST_MAPS, 4), dtype=np.float32)
    for row, part in ((0, clip @ place), (4, place), (8, turn)):
        values[row : row + 4] = part.T
    values[12] = *constants["kd"], constants["alpha"]
    mirrored = -1.0 if determinant < 0 else 1.0
    values[13] = constants["roughness"], constants["metallic"], constants["openness"], mirrored
    values[14, :3] = constants["coat"], constants["coat_roughness"], constants["sheen_roughness"]
    values[15] = *constants["sheen_tint"], constants["sheen"]
    values[16] = *constants["emission"], constants["emission_strength"]
    for slot, size in enumerate(sizes):
        values[17 + slot] = size
    return values.reshape(-1)
