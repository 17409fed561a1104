# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluated meshes for the preview: each is read once, for all objects that show it, wherever they are.

Blender gives every evaluated mesh a number, and a new one each time it evaluates the mesh again; objects and instances of
one mesh share the number. So the number says whether a mesh was read already. Of a large mesh, a viewport reads only what
Blender has as arrays, and another thread does the rest.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import replace
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...export.mesh import LocalMesh, local_mesh, round_frames
from ...export.mesh_reading import read_mesh
from .tangents import corner_tangents

LARGE = 100_000  # corners; Blender computes the tangents of so many in about 50 ms

Arrays = dict[str, NDArray[Any]]
Key = tuple[int, str, int, frozenset[int]]
"""The number of a mesh or an object, and how it is read: its UV map, how many slots it has, and which of them are tiled."""


class LocalParts:
    """A mesh in its own space, in the renderer's axes, split by material slot and UDIM tile (0: its slot has no tiles).

    parts: the arrays by (slot number of the faces, tile); key: names the geometry.
    """

    def __init__(self, key: str, parts: dict[tuple[int, int], Arrays]) -> None:
        self.key = key
        self.parts = parts


class _Preparation:
    """A large mesh that another thread prepares. of: its key; parts: None until it is done; seen: whether `poll` said so."""

    def __init__(self, of: Key, local: LocalMesh, quads: NDArray[np.int32]) -> None:
        self.of = of
        self.parts: LocalParts | None = None
        self.seen = False
        self._local, self._quads = local, quads
        threading.Thread(target=self._run, name="pbrfit-mesh", daemon=True).start()

    def _run(self) -> None:
        self.parts = LocalParts(f"mesh/{next(_numbers)}", parts_of(with_tangents(self._local, self._quads)))


_numbers = itertools.count(1)
_known: weakref.WeakValueDictionary[Key, LocalParts] = weakref.WeakValueDictionary()
_last: weakref.WeakValueDictionary[Key, LocalParts] = weakref.WeakValueDictionary()
_preparations: dict[Key, _Preparation] = {}


def local_parts(
    evaluated: bpy.types.Object,
    uv_map: str,
    slot_count: int,
    tiled_slots: frozenset[int] = frozenset(),
    wait: bool = True,
) -> LocalParts | None:
    """The parts of an evaluated object's (or instance's) mesh with one of its UV maps; reads it only if nobody holds them.

    Faces whose slot number is slot_count or higher belong to the last slot. Faces of `tiled_slots` move from their UDIM
    tile to the first. wait: whether to wait for a large mesh; else, until `poll` says that it is there, those that the object
    had before are returned, or None.
    """
    wanted = (evaluated.data.session_uid, uv_map, slot_count, tiled_slots)
    place = (evaluated.original.session_uid, uv_map, slot_count, tiled_slots)
    found = _known.get(wanted)
    if found is not None:
        return found
    preparation = None if wait else _preparations.get(place)
    if preparation is not None and preparation.parts is None:
        return _last.get(place)
    older = _last.get(place)
    if preparation is not None and preparation.parts is not None:
        del _preparations[place]
        _last[place] = older = preparation.parts
        found = older if preparation.of == wanted else None
    if found is None and (wait or len(evaluated.data.loops) < LARGE):
        found = _now(evaluated, uv_map, slot_count, tiled_slots)
    if found is None:
        read = read_local(evaluated, uv_map, slot_count, tiled_slots, tangents=False)
        if read is not None:
            _preparations[place] = _Preparation(wanted, *read)
            return older
        found = LocalParts(f"mesh/{next(_numbers)}", {})
    _known[wanted] = _last[place] = found
    return found


def _now(evaluated: bpy.types.Object, uv_map: str, slot_count: int, tiled_slots: frozenset[int]) -> LocalParts:
    """The parts, read with the tangents of Blender."""
    read = read_local(evaluated, uv_map, slot_count, tiled_slots, tangents=True)
    return LocalParts(f"mesh/{next(_numbers)}", parts_of(read[0]) if read is not None else {})


def poll() -> bool:
    """Whether a mesh has come since the last call."""
    came = [item for item in _preparations.values() if item.parts is not None and not item.seen]
    for item in came:
        item.seen = True
    return bool(came)


def forget() -> None:
    """Give up the meshes that nobody has asked for again."""
    _preparations.clear()


def read_local(
    evaluated: bpy.types.Object, uv_map: str, slot_count: int, tiled_slots: frozenset[int], tangents: bool
) -> tuple[LocalMesh, NDArray[np.int32]] | None:
    """Read a mesh from Blender, and the first corners of its quads, int32 [Q]; None if it has no faces.

    tangents: whether Blender computes them; else they are zero.
    """
    mesh = evaluated.to_mesh()
    try:
        if mesh is None or not len(mesh.polygons):
            return None
        reading = read_mesh(mesh, uv_map)
        local = local_mesh(mesh, reading, uv_map, slot_count, tiled_slots, tangents)
        return local, reading.loop_starts[reading.totals == 4]
    finally:
        evaluated.to_mesh_clear()


def with_tangents(local: LocalMesh, quads: NDArray[np.int32]) -> LocalMesh:
    """A mesh with the tangents that it lacks. quads: as `read_local` returns them."""
    tangents, signs = corner_tangents(
        local.local_positions, local.vertices, local.normals, local.uv, local.triangles, quads
    )
    round_frames(tangents)
    return replace(local, tangents=tangents, signs=signs)


def parts_of(local: LocalMesh) -> dict[tuple[int, int], Arrays]:
    """The arrays of a mesh by slot and tile."""
    local = local.with_shared_corners()
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
