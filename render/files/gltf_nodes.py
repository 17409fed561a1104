"""Where the nodes of a glTF scene put its meshes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from render.geometry.mesh import MeshError


def placed_meshes(gltf: Any, source: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each mesh number in the default scene with its world matrix, float64 [4, 4]; a mesh comes once for each place.

    Without a named default scene, the first scene is the default. Without scenes, all nodes that are not children count.
    Raises MeshError for nodes that contain each other.
    """
    nodes = gltf.nodes or []
    if gltf.scenes:
        roots = gltf.scenes[gltf.scene or 0].nodes or []
    else:
        children = {child for node in nodes for child in node.children or []}
        roots = [i for i in range(len(nodes)) if i not in children]
    pending = [(root, np.eye(4), 0) for root in reversed(roots)]
    while pending:
        number, parent, depth = pending.pop()
        if depth > len(nodes):
            raise MeshError(f"{source} has nodes that contain each other: export it again")
        node = nodes[number]
        world = parent @ local_matrix(node)
        if node.mesh is not None:
            yield node.mesh, world
        pending += [(child, world, depth + 1) for child in reversed(node.children or [])]


def local_matrix(node: Any) -> NDArray[np.float64]:
    """A node's matrix [4, 4], float64: from its matrix (by columns), or its translation, rotation (x, y, z, w) and scale."""
    if node.matrix is not None:
        return np.array(node.matrix, np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = np.array(node.rotation or (0, 0, 0, 1), np.float64) / np.linalg.norm(node.rotation or (0, 0, 0, 1))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix[:3, :3] = rotation * np.array(node.scale or (1, 1, 1), np.float64)
    matrix[:3, 3] = node.translation or (0, 0, 0)
    return matrix
