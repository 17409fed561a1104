# SPDX-License-Identifier: GPL-3.0-or-later
"""Tangents of large meshes, from arrays alone, so that another thread can compute them while Blender goes on.

As MikkTSpace does it, which Blender has in its own code for the main thread only: the tangent of a corner is the mean, weighted
by angle, of the directions of u in the triangles around its vertex that share its normal, UV and orientation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...export.mesh import equal_corners, perpendicular, unit

Rows = NDArray[np.float32]


def corner_tangents(
    positions: Rows,
    vertices: NDArray[np.int32],
    normals: Rows,
    uv: Rows,
    triangles: NDArray[np.int32],
    quads: NDArray[np.int32],
) -> tuple[Rows, Rows]:
    """Tangents, float32 [C, 3], and signs of the bitangents, float32 [C, 1], of corners.

    positions: [V, 3]; vertices: [C], of the corners; normals: [C, 3], of length 1; uv: [C, 2]; triangles: [T, 3] of corners;
    quads: [Q], the first of the four corners of each polygon of four.
    """
    _, welded = equal_corners(vertices, (normals, uv))
    points = positions[vertices]
    corners = split_as_mikktspace(triangles, quads, points, uv).T
    seen = [uv[corner] for corner in corners]
    first, second = seen[1] - seen[0], seen[2] - seen[0]
    mirrored = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0.0
    edges = [points[corners[place]] - points[corners[0]] for place in (1, 2)]
    along = second[:, 1:] * edges[0] - first[:, 1:] * edges[1]
    along[mirrored] *= -1.0
    count = 2 * (int(welded.max()) + 1)
    sums = np.zeros((count, 3))
    group = np.zeros(len(vertices), dtype=np.int64)
    for place in range(3):
        corner = corners[place]
        normal = normals[corner]
        ahead = flattened(points[corners[(place + 1) % 3]] - points[corner], normal)
        behind = flattened(points[corners[(place + 2) % 3]] - points[corner], normal)
        weight = np.arccos(np.clip((ahead * behind).sum(axis=1), -1.0, 1.0))
        group[corner] = own = 2 * welded[corner].astype(np.int64) + mirrored
        weighted = flattened(along, normal) * weight[:, None]
        for axis in range(3):
            sums[:, axis] += np.bincount(own, weights=weighted[:, axis], minlength=count)
    tangents = unit(sums)[group].astype(np.float32)
    nowhere = ~tangents.any(axis=1)
    tangents[nowhere] = perpendicular(normals[nowhere])
    return tangents, np.where(group % 2, np.float32(-1.0), np.float32(1.0))[:, None]


def split_as_mikktspace(
    triangles: NDArray[np.int32], quads: NDArray[np.int32], points: Rows, uv: Rows
) -> NDArray[np.int32]:
    """The triangles [T, 3] of corners, those of quads along the diagonal that is shorter in UV, as MikkTSpace splits them.

    quads: [Q], the first of the four corners of each; points, uv: [C, 3] and [C, 2], of the corners.
    """
    if not len(quads):
        return triangles
    of_quad = np.zeros(len(points), dtype=bool)
    corner = quads[:, None] + np.arange(4, dtype=np.int32)
    of_quad[corner] = True

    def diagonal(values: Rows, one: int) -> NDArray[np.float32]:
        apart = values[corner[:, one + 2]] - values[corner[:, one]]
        squared: NDArray[np.float32] = (apart * apart).sum(axis=1)
        return squared

    seen = [diagonal(uv, one) for one in (0, 1)]
    second = np.where(seen[0] == seen[1], diagonal(points, 1) < diagonal(points, 0), seen[1] < seen[0])
    patterns = np.array([[[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]], dtype=np.int32)[second.astype(np.intp)]
    halves = (quads[:, None, None] + patterns).reshape(-1, 3)
    return np.concatenate([triangles[~of_quad[triangles[:, 0]]], halves])


def flattened(vectors: Rows, normals: Rows) -> Rows:
    """Vectors [N, 3] in the plane of normals [N, 3], scaled to length 1."""
    return unit(vectors - normals * (vectors * normals).sum(axis=1)[:, None])
