# SPDX-License-Identifier: GPL-3.0-or-later
"""The one rotation between Blender and the renderer, and the camera matrices that follow from it.

Blender is right-handed with Z up; the renderer is right-handed with Y up. Blender's (X, Y, Z) becomes (-Y, Z, -X).
Under this rotation Blender's equirectangular mapping and the renderer's are the same, so environment images pass
untouched. Blender counts the rows of an image from the bottom, the renderer from the top. Nothing else in the add-on
knows about axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

RENDERER_FROM_BLENDER = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""float64 [4, 4], column vectors: point in the renderer = RENDERER_FROM_BLENDER @ point in Blender."""

TOP_ROW_FIRST: NDArray[np.float64] = np.diag([1.0, -1.0, 1.0, 1.0])
"""float64 [4, 4]: the renderer's projection = TOP_ROW_FIRST @ Blender's, so that image row 0 is the top."""


def rotate_to_renderer(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Rotate vectors [..., 3] from Blender's axes to the renderer's; returns float32, C order.

    The rotation is a permutation with signs, so it is exact.
    """
    rotated = np.empty(vectors.shape, dtype=np.float32)
    rotated[..., 0] = -vectors[..., 1]
    rotated[..., 1] = vectors[..., 2]
    rotated[..., 2] = -vectors[..., 0]
    return rotated


def rotate_to_blender(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotate vectors float32 [..., 3] from the renderer's axes to Blender's; exact, C order."""
    rotated = np.empty(vectors.shape, dtype=np.float32)
    rotated[..., 0] = -vectors[..., 2]
    rotated[..., 1] = -vectors[..., 0]
    rotated[..., 2] = vectors[..., 1]
    return rotated


def view_matrix(camera_matrix_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Renderer's world-to-camera matrix [4, 4] of a Blender camera given by its camera-to-world matrix [4, 4].

    Both cameras look along -Z with +Y up in their own frame, so only the world is rotated. Column vectors.
    """
    return np.linalg.inv(RENDERER_FROM_BLENDER @ camera_matrix_world)


def renderer_view(blender_view: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Renderer's world-to-camera matrix [4, 4] of Blender's world-to-camera matrix [4, 4]. Column vectors."""
    view: NDArray[np.float64] = np.asarray(blender_view, dtype=np.float64) @ RENDERER_FROM_BLENDER.T
    return view


def projection_matrix(fov: float, aspect: float, near: float, far: float) -> NDArray[np.float64]:
    """Perspective projection [4, 4] with y flipped, so that image row 0 is the top. Column vectors.

    fov: vertical field of view in radians; aspect: width / height; near, far: clip distances, 0 < near < far.
    """
    tangent = math.tan(0.5 * fov)
    return np.array(
        [
            [1.0 / (tangent * aspect), 0.0, 0.0, 0.0],
            [0.0, -1.0 / tangent, 0.0, 0.0],
            [0.0, 0.0, -(far + near) / (far - near), -2.0 * far * near / (far - near)],
            [0.0, 0.0, -1.0, 0.0],
        ]
    )
