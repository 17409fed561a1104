# SPDX-License-Identifier: GPL-3.0-or-later
"""Silhouettes and depths of exported triangles, by a small rasterizer in numpy, and how far a render differs from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.axes import rotate_to_blender

LEAST_OVERLAP = 0.98  # of the pixels that either shows
LEAST_PIXELS = 100  # shares are of at least so many: one or two pixels of a wire that is seen from its end say nothing
MOST_WRONG_DEPTHS = 0.02  # of the pixels that both show
DEPTH_ERROR = 0.02  # of the object's radius; both sample the centers of pixels, so this is generous
REACH = 0.01  # pixels around a center in which an edge may lie on either side: Cycles samples within 0.005, and rounds
AROUND = tuple((x, y) for x in (-REACH, 0.0, REACH) for y in (-REACH, 0.0, REACH))
BLOCK = 1 << 16  # triangles at a time


def depth_of(
    positions: NDArray[np.float32],
    triangles: NDArray[np.int32],
    view: dict[str, Any],
    size: int,
    offset: tuple[float, float] = (0.0, 0.0),
    reach: float = 0.0,
) -> NDArray[np.float32]:
    """The distance to the camera's plane in the centers of pixels, float32 [size, size], row 0 at the top; 0 where no
    triangle is.

    positions: float32 [N, 3], in the renderer's axes; triangles: int32 [T, 3]; view: see render_references.py; offset: in
    pixels, from the centers (to the right, down) to where to look; reach: how far, in pixels, a triangle may be away. Every
    vertex must lie in front of the camera.
    """
    to_camera = np.linalg.inv(np.array(view["matrix_world"], dtype=np.float64))
    local = rotate_to_blender(positions.astype(np.float64)) @ to_camera[:3, :3].T + to_camera[:3, 3]
    depth = -local[:, 2]
    scale = 0.5 * size / np.tan(0.5 * view["fov"])
    x = local[:, 0] / depth * scale + 0.5 * size - 0.5 - offset[0]  # the center of pixel i is at i
    y = -local[:, 1] / depth * scale + 0.5 * size - 0.5 - offset[1]
    nearest = np.full(size * size, np.inf)
    for start in range(0, len(triangles), BLOCK):
        corners = triangles[start : start + BLOCK]
        draw(x[corners], y[corners], 1.0 / depth[corners], nearest, size, reach)
    nearest[np.isinf(nearest)] = 0.0
    return nearest.reshape(size, size).astype(np.float32)


def draw(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    inverse_depth: NDArray[np.float64],
    nearest: NDArray[np.float64],
    size: int,
    reach: float,
) -> None:
    """Draw triangles into `nearest` [size * size], in place. x, y: in pixels, inverse_depth: all float64 [T, 3]; reach: see
    `depth_of`. Beside a triangle, the depth is that of its border."""
    left, top = (np.clip(np.ceil(axis.min(axis=1) - reach), 0, size).astype(np.int64) for axis in (x, y))
    right, bottom = (np.clip(np.floor(axis.max(axis=1) + reach), -1, size - 1).astype(np.int64) for axis in (x, y))
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
        if reach:
            # A weight is the distance to a side, in heights of the triangle.
            beside_a, beside_b, beside_c = (
                weight * np.abs(area) >= -reach * np.hypot(side_x, side_y)
                for weight, side_x, side_y in ((a, cx - bx, cy - by), (b, ax - cx, ay - cy), (c, bx - ax, by - ay))
            )
            inside = beside_a & beside_b & beside_c
    weights = np.maximum(np.stack([a[inside], b[inside], c[inside]], axis=1), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    depth = 1.0 / (weights * inverse_depth[owner[inside]]).sum(axis=1)  # it is the inverse that is linear in the image
    np.minimum.at(nearest, row[inside] * size + column[inside], depth)


def difference(
    rendered: NDArray[np.float32],
    positions: NDArray[np.float32],
    triangles: NDArray[np.int32],
    view: dict[str, Any],
    tolerance: float,
) -> tuple[float, float]:
    """How the depths that were rendered, float32 [size, size], differ from those of triangles; see `compare`, `depth_of`."""
    size = len(rendered)
    plain = depth_of(positions, triangles, view, size)
    overlap, wrong = compare(rendered, plain, plain[None], tolerance)
    if overlap >= LEAST_OVERLAP and wrong <= MOST_WRONG_DEPTHS:
        return overlap, wrong
    # Of wires and blades of grass many pixels have their center just at an edge: what they show is chance.
    possible = depth_of(positions, triangles, view, size, reach=REACH)
    certain = [depth_of(positions, triangles, view, size, offset) for offset in AROUND]
    return compare(rendered, possible, np.stack(certain), tolerance)


def compare(
    rendered: NDArray[np.float32], possible: NDArray[np.float32], certain: NDArray[np.float32], tolerance: float
) -> tuple[float, float]:
    """Depth images, 0 where nothing is: (share of pixels that agree on whether something is there, of those where something
    can be; share of the pixels that show what can be there whose depths differ by more than `tolerance`).

    rendered, possible: [H, W]; certain: [K, H, W]. A pixel is wrong if it shows something where nothing is possible, or
    nothing where all of `certain` have something; its depth is wrong if it differs from that in each.
    """
    shown = rendered > 0.0
    can_show = possible > 0.0
    missing, extra = ~shown & (certain > 0.0).all(axis=0), shown & ~can_show
    answers = np.concatenate([possible[None], certain])
    off = np.where(answers > 0.0, np.abs(rendered - answers), np.inf).min(axis=0) > tolerance

    def share(some: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
        return int(some.sum()) / max(int(whole.sum()), LEAST_PIXELS)

    both = shown & can_show
    return 1.0 - share(missing | extra, shown | can_show), share(off & both, both)
