# SPDX-License-Identifier: GPL-3.0-or-later
"""Silhouettes and depths of exported triangles, by a small rasterizer in numpy, and how far a render differs from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.axes import rotate_to_blender

LEAST_OVERLAP = 0.98  # of the pixels that either shows
MOST_WRONG_DEPTHS = 0.02  # of the pixels that both show
DEPTH_ERROR = 0.02  # of the object's radius; both sample the centers of pixels, so this is generous
BLOCK = 1 << 16  # triangles at a time


def depth_of(
    positions: NDArray[np.float32], triangles: NDArray[np.int32], view: dict[str, Any], size: int
) -> NDArray[np.float32]:
    """The distance to the camera's plane in the centers of pixels, float32 [size, size], row 0 at the top; 0 where no
    triangle is.

    positions: float32 [N, 3], in the renderer's axes; triangles: int32 [T, 3]; view: see render_references.py. Every
    vertex must lie in front of the camera.
    """
    to_camera = np.linalg.inv(np.array(view["matrix_world"], dtype=np.float64))
    local = rotate_to_blender(positions.astype(np.float64)) @ to_camera[:3, :3].T + to_camera[:3, 3]
    depth = -local[:, 2]
    scale = 0.5 * size / np.tan(0.5 * view["fov"])
    x = local[:, 0] / depth * scale + 0.5 * size - 0.5  # the center of pixel i is at i
    y = -local[:, 1] / depth * scale + 0.5 * size - 0.5
    nearest = np.full(size * size, np.inf)
    for start in range(0, len(triangles), BLOCK):
        corners = triangles[start : start + BLOCK]
        draw(x[corners], y[corners], 1.0 / depth[corners], nearest, size)
    nearest[np.isinf(nearest)] = 0.0
    return nearest.reshape(size, size).astype(np.float32)


def draw(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    inverse_depth: NDArray[np.float64],
    nearest: NDArray[np.float64],
    size: int,
) -> None:
    """Draw triangles into `nearest` [size * size], in place. x, y: in pixels, inverse_depth: all float64 [T, 3]."""
    left, top = (np.clip(np.ceil(axis.min(axis=1)), 0, size).astype(np.int64) for axis in (x, y))
    right, bottom = (np.clip(np.floor(axis.max(axis=1)), -1, size - 1).astype(np.int64) for axis in (x, y))
    width = np.maximum(right - left + 1, 0)
    count = width * np.maximum(bottom - top + 1, 0)
    owner = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    column, row = left[owner] + within % np.maximum(width[owner], 1), top[owner] + within // np.maximum(width[owner], 1)
    ax, bx, cx = x[owner].T
    ay, by, cy = y[owner].T
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = ((bx - column) * (cy - row) - (by - row) * (cx - column)) / area
        b = ((cx - column) * (ay - row) - (cy - row) * (ax - column)) / area
    c = 1.0 - a - b
    inside = (a >= 0.0) & (b >= 0.0) & (c >= 0.0)  # false where the area is 0
    weights = np.stack([a[inside], b[inside], c[inside]], axis=1)
    depth = 1.0 / (weights * inverse_depth[owner[inside]]).sum(axis=1)  # it is the inverse that is linear in the image
    np.minimum.at(nearest, row[inside] * size + column[inside], depth)


def compare(rendered: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> tuple[float, float]:
    """Two depth images, 0 where nothing is: (pixels that both show / pixels that either shows, share of the pixels that
    both show whose depths differ by more than `tolerance`). Two empty images are equal."""
    one, other = rendered > 0.0, expected > 0.0
    both = one & other
    either = int((one | other).sum())
    if not either:
        return 1.0, 0.0
    wrong = np.abs(rendered - expected)[both] > tolerance
    return int(both.sum()) / either, float(wrong.mean()) if both.any() else 0.0
