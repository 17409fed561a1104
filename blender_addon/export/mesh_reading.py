# SPDX-License-Identifier: GPL-3.0-or-later
"""Read an evaluated mesh from Blender once, for the checks, the plan and the export.

Blender is by far fastest with what it stores as arrays, so everything else is computed from these if possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import bpy
import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def read(collection: bpy.types.bpy_prop_collection, attribute: str, width: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """One attribute of every element of a Blender collection, as [len(collection), width] of `dtype`."""
    values: NDArray[Scalar] = np.empty(len(collection) * width, dtype=dtype)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width)


def read_attribute(mesh: bpy.types.Mesh, name: str, field: str, width: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """A mesh attribute by name, as [elements, width]; an absent one (all zero) as zeros, one row for each face."""
    attribute = mesh.attributes.get(name)
    if attribute is None:
        return np.zeros((len(mesh.polygons), width), dtype=dtype)
    return read(attribute.data, field, width, dtype)


def read_positions(mesh: bpy.types.Mesh) -> NDArray[np.float32]:
    """The positions of the vertices, float32 [V, 3], in object space."""
    stored = mesh.attributes.get("position")
    return read(mesh.vertices, "co", 3, np.float32) if stored is None else read(stored.data, "vector", 3, np.float32)


def read_corner_vertices(mesh: bpy.types.Mesh) -> NDArray[np.int32]:
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
    """The arrays of an evaluated mesh with one UV map; they must not be changed.

    positions: float32 [V, 3], object space; corner_vertices: int32 [C], of the corners, polygon after polygon; uv: float32
    [C, 2] of the corners, or None if the mesh lacks the map; loop_starts, totals: int32 [P], first corner of each polygon
    and number of its corners; slots: int32 [P], material indices as stored; triangles: int32 [T, 3] of corners;
    triangle_polygons: int64 [T]; has_area: whether any polygon has an area; uv_map: the name of the map that was read, or
    None; default_uv_map: that of the map which a material reads if it names none.
    """

    positions: NDArray[np.float32]
    corner_vertices: NDArray[np.int32]
    uv: NDArray[np.float32] | None
    loop_starts: NDArray[np.int32]
    totals: NDArray[np.int32]
    slots: NDArray[np.int32]
    triangles: NDArray[np.int32]
    triangle_polygons: NDArray[np.int64]
    has_area: bool
    uv_map: str | None
    default_uv_map: str | None

    def slots_within(self, slot_count: int) -> NDArray[np.int32]:
        """The slot of each face, int32 [P]: a face whose index has no slot shows the last one."""
        slots: NDArray[np.int32] = np.clip(self.slots, 0, max(1, slot_count) - 1)
        return slots


def uv_map_to_fit(scene_object: bpy.types.Object, mesh: bpy.types.Mesh) -> str | None:
    """The UV map of an evaluated mesh that a fit uses: the object's active one, else the mesh's active or first one.

    Modifiers can make UV maps, which the object's own mesh lacks, and remove its own.
    """
    names = [layer.name for layer in mesh.uv_layers]
    # After some modifiers Blender names an internal layer as the active one.
    wanted = (scene_object.data.uv_layers.active, mesh.uv_layers.active, *mesh.uv_layers)
    return next((layer.name for layer in wanted if layer is not None and layer.name in names), None)


def read_mesh(mesh: bpy.types.Mesh, uv_map: str | None) -> MeshReading:
    """Read an evaluated mesh with one of its UV maps; a map that it lacks gives none."""
    starts = read(mesh.polygons, "loop_start", 1, np.int32)[:, 0]
    totals = np.diff(starts, append=np.int32(len(mesh.loops)))
    uv = None
    if uv_map is not None and uv_map in mesh.uv_layers:
        uv = read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)
        uv += 0.0  # -0.0 and 0.0 are one value
    marked = [layer for layer in mesh.uv_layers if layer.active_render]
    return MeshReading(
        positions=read_positions(mesh),
        corner_vertices=read_corner_vertices(mesh),
        uv=uv,
        loop_starts=starts,
        totals=totals,
        slots=read_attribute(mesh, "material_index", "value", 1, np.int32)[:, 0],
        triangles=read(mesh.loop_triangles, "loops", 3, np.int32),
        # Blender stores the triangles polygon after polygon; each has two fewer triangles than corners.
        triangle_polygons=np.repeat(np.arange(len(totals)), totals - 2),
        # Usually the first polygon decides.
        has_area=any(polygon.area != 0.0 for polygon in mesh.polygons),
        uv_map=uv_map if uv is not None else None,
        default_uv_map=next((layer.name for layer in (*marked, *mesh.uv_layers)), None),
    )


class Readings:
    """Evaluated meshes of one depsgraph, each read once. Valid as long as nothing in the file changes."""

    def __init__(self, depsgraph: bpy.types.Depsgraph) -> None:
        self.depsgraph = depsgraph
        self._readings: dict[tuple[int, str | None], MeshReading] = {}

    def of(self, scene_object: bpy.types.Object, uv_map: str | None = None) -> MeshReading:
        """The evaluated mesh of an object, with one of its UV maps, or with the one to fit (see `uv_map_to_fit`)."""
        key = scene_object.session_uid, uv_map
        if key not in self._readings:
            with evaluated_mesh(scene_object, self.depsgraph) as mesh:
                chosen = uv_map_to_fit(scene_object, mesh) if uv_map is None else uv_map
                known = self._readings.get((scene_object.session_uid, chosen))
                reading = known or read_mesh(mesh, chosen)
            self._readings[key] = reading
            self._readings[scene_object.session_uid, chosen] = reading
        return self._readings[key]

    def materials_of(self, scene_object: bpy.types.Object) -> tuple[bpy.types.Material | None, ...]:
        """The materials that the evaluated object shows, by the material index of its faces: modifiers can set them."""
        slots = scene_object.evaluated_get(self.depsgraph).material_slots
        # Evaluated datablocks have no number of their own, so they are compared by their originals.
        return tuple(slot.material.original if slot.material is not None else None for slot in slots)
