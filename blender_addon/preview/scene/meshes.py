# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluated meshes for the preview: each is read once, for all objects that show it, wherever they are.

Blender gives every evaluated mesh a number, and a new one each time it evaluates the mesh again; objects and instances of
one mesh share the number. So the number says whether a mesh was read already.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...export.mesh import local_mesh
from ...export.mesh_reading import read_mesh

Arrays = dict[str, NDArray[Any]]


class LocalParts:
    """A mesh in its own space, in the renderer's axes, split by material slot and UDIM tile (0: its slot has no tiles).

    parts: the arrays by (slot number of the faces, tile); key: names the geometry.
    """

    def __init__(self, key: str, parts: dict[tuple[int, int], Arrays]) -> None:
        self.key = key
        self.parts = parts


_numbers = itertools.count(1)
_known: weakref.WeakValueDictionary[tuple[int, str, int, frozenset[int]], LocalParts] = weakref.WeakValueDictionary()


def local_parts(
    evaluated: bpy.types.Object, uv_map: str, slot_count: int, tiled_slots: frozenset[int] = frozenset()
) -> LocalParts:
    """The parts of an evaluated object's (or instance's) mesh with one of its UV maps; reads it only if nobody holds them.

    Faces whose slot number is slot_count or higher belong to the last slot. Faces of `tiled_slots` move from their UDIM
    tile to the first.
    """
    wanted = (evaluated.data.session_uid, uv_map, slot_count, tiled_slots)
    found = _known.get(wanted)
    if found is None:
        parts = read_parts(evaluated, uv_map, slot_count, tiled_slots)
        found = LocalParts(f"mesh/{next(_numbers)}", parts)
        _known[wanted] = found
    return found


def read_parts(
    evaluated: bpy.types.Object, uv_map: str, slot_count: int, tiled_slots: frozenset[int]
) -> dict[tuple[int, int], Arrays]:
    """Read a mesh from Blender: arrays by slot and tile; empty if it has no faces."""
    mesh = evaluated.to_mesh()
    try:
        if mesh is None or not len(mesh.polygons):
            return {}
        local = local_mesh(mesh, read_mesh(mesh, uv_map), uv_map, slot_count, tiled_slots).with_shared_corners()
    finally:
        evaluated.to_mesh_clear()
    arrays, _ = local.placed(np.eye(4))
    groups = local.material.astype(np.int64) * 10_000 + local.tile
    present = np.unique(groups) if groups.min() != groups.max() else groups[:1]
    return {
        (int(group) // 10_000, int(group) % 10_000): arrays if len(present) == 1 else part_of(arrays, groups == group)
        for group in present
    }


def part_of(arrays: Arrays, chosen: NDArray[np.bool_]) -> Arrays:
    """The chosen triangles, bool [T], with only the vertices that they use."""
    triangles = arrays["triangles"][chosen]
    used = np.zeros(len(arrays["vertex_position"]), dtype=bool)
    used[triangles] = True
    place = np.cumsum(used, dtype=np.int32) - 1
    part = {name: array[used] for name, array in arrays.items() if name != "triangles"}
    return {**part, "triangles": place[triangles]}
