# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes on Blender's own GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gpu
import numpy as np
from numpy.typing import NDArray

_ATTRIBUTES = (("position", 3), ("normal", 3), ("tangent", 4), ("uv", 2))


def mesh_batch(arrays: Mapping[str, NDArray[Any]]) -> gpu.types.GPUBatch | None:
    """A mesh of the wire arrays (vertex_position, …, triangles), ready to draw; None if it has no triangles."""
    triangles = np.ascontiguousarray(arrays["triangles"], dtype=np.int32)
    if not len(triangles):
        return None
    layout = gpu.types.GPUVertFormat()
    for name, size in _ATTRIBUTES:
        layout.attr_add(id=name, comp_type="F32", len=size, fetch_mode="FLOAT")
    vertices = gpu.types.GPUVertBuf(format=layout, len=len(arrays["vertex_position"]))
    for name, _ in _ATTRIBUTES:
        vertices.attr_fill(id=name, data=np.ascontiguousarray(arrays[f"vertex_{name}"], dtype=np.float32))
    return gpu.types.GPUBatch(type="TRIS", buf=vertices, elem=gpu.types.GPUIndexBuf(type="TRIS", seq=triangles))


def square_batch() -> gpu.types.GPUBatch:
    """The square from -1 to 1, with the attribute `position`."""
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="position", comp_type="F32", len=2, fetch_mode="FLOAT")
    vertices = gpu.types.GPUVertBuf(format=layout, len=4)
    vertices.attr_fill(id="position", data=np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float32))
    corners = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    return gpu.types.GPUBatch(type="TRIS", buf=vertices, elem=gpu.types.GPUIndexBuf(type="TRIS", seq=corners))
