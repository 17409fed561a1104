# SPDX-License-Identifier: GPL-3.0-or-later
"""The one rotation between Blender and the renderer, and the camera matrices that follow from it.

Blender is right-handed with Z up; the renderer is right-handed with Y up. Blender's (X, Y, Z) becomes (-Y, Z, -X).
Under this rotation Blender's equirectangular mapping and the renderer's are the same, so environment images pass
untouched. Nothing else in the add-on knows about axes.
"""

from __future__ import annotations

import math

import numpy as np

RENDERER_FROM_BLENDER = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
"""3x3, column vectors: direction in the renderer = RENDERER_FROM_BLENDER @ direction in Blender."""


def rotate_to_renderer(vectors: np.ndarray) -> np.ndarray:
    """Rotate vectors [..., 3] from Blender's axes to the renderer's; returns float32, C order.

    The rotation is a permutation with signs, so it is exact.
    """
    rotated = np.empty(vectors.shape, dtype=np.float32)
    rotated[..., 0] = -vectors[..., 1]
    rotated[..., 1] = vectors[..., 2]
    rotated[..., 2] = -vectors[..., 0]
    return rotated


def view_matrix(camera_matrix_world: np.ndarray) -> np.ndarray:
    """Renderer's world-to-camera matrix [4, 4] of a Blender camera given by its camera-to-world matrix [4, 4].

    Both cameras look along -Z with +Y up in their own frame, so only the world is rotated. float64, column vectors.
    """
    rotation = np.eye(4)
    rotation[:3, :3] = RENDERER_FROM_BLENDER
    return np.linalg.inv(rotation @ camera_matrix_world)


def projection_matrix(fov: float, aspect: float, near: float, far: float) -> np.ndarray:
    """Perspective projection [4, 4] with y flipped, so that image row 0 is the top. float64, column vectors.

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
