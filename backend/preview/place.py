"""The places of a preview's parts: parts placed by their matrices, and the rectangle of an image that they may cover."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from render.geometry.mesh import Mesh, unit_vectors

# Corners no farther in front of the eye than this are not projected.
_LEAST_W = 1e-6


def placed(mesh: Mesh, matrix: NDArray[np.float64]) -> Mesh:
    """A mesh moved from its own space to the world's by an invertible matrix, as a job's mesh is exported.

    Normals and tangents are multiplied by the inverse transpose; a mirroring matrix reverses the triangles and the tangents'
    sign, so that faces stay front-facing.
    """
    linear = torch.from_numpy(matrix[:3, :3]).to(mesh.position.device)
    inverse = torch.from_numpy(np.linalg.inv(matrix[:3, :3])).to(mesh.position.device)
    offset = torch.from_numpy(matrix[:3, 3].copy()).to(mesh.position.device)
    sign, triangles = mesh.tangent[:, 3:], mesh.triangles
    if np.linalg.det(matrix[:3, :3]) < 0:
        sign, triangles = -sign, triangles.flip(1)
    tangent = unit_vectors(mesh.tangent[:, :3].double() @ inverse).float()
    return Mesh(
        position=(mesh.position.double() @ linear.T + offset).float(),
        normal=unit_vectors(mesh.normal.double() @ inverse).float(),
        tangent=torch.cat([tangent, sign], dim=1),
        uv=mesh.uv,
        triangles=triangles,
        material=mesh.material,
    )


def box_corners(mesh: Mesh) -> NDArray[np.float64]:
    """The corners of a mesh's box, float64 [8, 3]."""
    low, high = mesh.position.amin(0).double().tolist(), mesh.position.amax(0).double().tolist()
    return np.array(list(itertools.product(*zip(low, high, strict=True))))


def world_corners(corners: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners [8, 3] placed by a matrix [4, 4]."""
    placed_corners: NDArray[np.float64] = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return placed_corners


def seen_rect(
    boxes: NDArray[np.float64], to_clip: NDArray[np.float64], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the pixels that boxes may cover, with a margin of one pixel; empty where none is in sight.

    boxes    float64 [N, 8, 3], their corners in the world
    to_clip  [4, 4], from the world to clip space
    size     (height, width) of the image
    """
    height, width = size
    clip = np.pad(boxes, ((0, 0), (0, 0), (0, 1)), constant_values=1.0) @ to_clip.T
    w = clip[..., 3:]
    beyond = np.concatenate([w + clip[..., :3] < 0, w - clip[..., :3] < 0], axis=-1).all(1).any(-1)
    clip, w = clip[~beyond], w[~beyond]
    if len(clip) == 0:
        return 0, 0, 0, 0
    if w.min() < _LEAST_W:
        return 0, 0, height, width
    place = (clip[..., 1::-1] / w + 1) * (0.5 * np.array(size))  # down, then across
    first = np.floor(place.min((0, 1)) - 1).clip(0, size).astype(int)
    last = np.ceil(place.max((0, 1)) + 1).clip(first, size).astype(int)
    return int(first[0]), int(first[1]), int(last[0] - first[0]), int(last[1] - first[1])


def sky_directions(
    view: NDArray[np.float64], projection: NDArray[np.float64], size: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """Directions, float32 [H, W, 3] of any length, from the eye through the centers of an image's pixels."""
    height, width = size
    rotation = np.eye(4)
    rotation[:3, :3] = view[:3, :3]
    from_clip = np.linalg.inv(projection @ rotation)
    # From the near plane to the far one, which works for orthographic cameras too. Both are linear over the image, as w is
    # constant on each of them.
    points = np.array([[0, 0, z, 1] for z in (-1, 1)]) @ from_clip.T
    slopes = from_clip[:3, :2] * (1 / points[1, 3] - 1 / points[0, 3])
    center = points[1, :3] / points[1, 3] - points[0, :3] / points[0, 3]
    x, y = (2 * np.arange(width) + 1) / width - 1, (2 * np.arange(height) + 1) / height - 1
    across, down = (
        torch.from_numpy(values).float().to(device)
        for values in (np.outer(x, slopes[:, 0]), np.outer(y, slopes[:, 1]) + center)
    )
    return down[:, None] + across


def band_of(projection: NDArray[Any], height: int, first: int, count: int) -> NDArray[Any]:
    """The projection [4, 4] of an image of `height` rows, for `count` of its rows alone, from row `first` on."""
    band = projection.copy()
    band[1] = (projection[1] * height + projection[3] * (height - 2 * first - count)) / count
    return band
