# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks, the plan and the export all want to know of an evaluated mesh, read from Blender once.

Blender hands out fastest by far what it stores as arrays, so the rest is taken from these where that is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np


def read(collection: bpy.types.bpy_prop_collection, attribute: str, width: int, dtype: type) -> np.ndarray:
    """One attribute of every element of a Blender collection, as [len(collection), width] of `dtype`."""
    values = np.empty(len(collection) * width, dtype=dtype)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width)


def read_attribute(mesh: bpy.types.Mesh, name: str, field: str, width: int, dtype: type) -> np.ndarray:
    """A mesh attribute by name, as [elements, width]; an absent one (all zero) as zeros of one row per face."""
    attribute = mesh.attributes.get(name)
    if attribute is None:
        return np.zeros((len(mesh.polygons), width), dtype=dtype)
    return read(attribute.data, field, width, dtype)


def read_positions(mesh: bpy.types.Mesh) -> np.ndarray:
    """Where the vertices are, float32 [V, 3], in object space."""
    stored = mesh.attributes.get("position")
    return read(mesh.vertices, "co", 3, np.float32) if stored is None else read(stored.data, "vector", 3, np.float32)


def read_corner_vertices(mesh: bpy.types.Mesh) -> np.ndarray:
    """The vertex of each corner, int32 [C]."""
    stored = mesh.attributes.get(".corner_vert")
    if stored is None:
        return read(mesh.loops, "vertex_index", 1, np.int32)[:, 0]
    return read(stored.data, "value", 1, np.int32)[:, 0]


@contextmanager
def evaluated_mesh(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[bpy.types.Mesh]:
    """The mesh of `scene_object` with modifiers and shape keys applied, as the viewport shows it, in object space."""
    evaluated = scene_object.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
    try:
        yield mesh
    finally:
        evaluated.to_mesh_clear()


@dataclass(frozen=True)
class MeshReading:
    """The arrays of an evaluated mesh with one UV map; nobody writes to them.

    positions: float32 [V, 3], object space; uv: float32 [C, 2] of the corners, polygon after polygon, or None where the
    mesh lacks the map; loop_starts, totals: int32 [P], first corner of each polygon and how many it has; slots: int32 [P],
    material indices as stored; triangles: int32 [T, 3] of corners; triangle_polygons: [T]; has_area: whether any polygon
    has an area; shown: the names of the mesh's materials.
    """

    positions: np.ndarray
    uv: np.ndarray | None
    loop_starts: np.ndarray
    totals: np.ndarray
    slots: np.ndarray
    triangles: np.ndarray
    triangle_polygons: np.ndarray
    has_area: bool
    shown: tuple[str | None, ...]


def read_mesh(mesh: bpy.types.Mesh, uv_map: str) -> MeshReading:
    """Read an evaluated mesh with one UV map, if it has that."""
    starts = read(mesh.polygons, "loop_start", 1, np.int32)[:, 0]
    totals = np.diff(starts, append=np.int32(len(mesh.loops)))
    uv = None
    if uv_map in mesh.uv_layers:
        uv = read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)
        uv += 0.0  # -0.0 and 0.0 are one value
    return MeshReading(
        positions=read_positions(mesh),
        uv=uv,
        loop_starts=starts,
        totals=totals,
        slots=read_attribute(mesh, "material_index", "value", 1, np.int32)[:, 0],
        triangles=read(mesh.loop_triangles, "loops", 3, np.int32),
        # Blender lays the triangles of polygon after polygon, two fewer than it has corners.
        triangle_polygons=np.repeat(np.arange(len(totals)), totals - 2),
        # Mostly the first polygon answers. A sum of areas is zero where all of them are.
        has_area=any(polygon.area != 0.0 for polygon in mesh.polygons),
        shown=tuple(item.name if item is not None else None for item in mesh.materials),
    )


class Readings:
    """The meshes read so far, as one depsgraph evaluates them: each is read once. Valid while the file holds still."""

    def __init__(self, depsgraph: bpy.types.Depsgraph) -> None:
        self._depsgraph = depsgraph
        self._readings: dict[tuple[int, str], MeshReading] = {}

    def of(self, scene_object: bpy.types.Object, uv_map: str) -> MeshReading:
        """The evaluated mesh of an object, with one of its UV maps."""
        key = scene_object.session_uid, uv_map
        if key not in self._readings:
            with evaluated_mesh(scene_object, self._depsgraph) as mesh:
                self._readings[key] = read_mesh(mesh, uv_map)
        return self._readings[key]
