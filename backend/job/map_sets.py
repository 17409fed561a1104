"""A job's sets of maps: which triangles, and so which rows of the sample table, belong to each.

A mesh may bring the array `triangle_set`; a set is fitted to the rows on its own triangles. Vertices that triangles of
several sets share are doubled, so that a row's set is that of its corners.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from backend.fit.sample_table import SampleTable
from backend.job.model import JobError
from render.geometry.mesh import Mesh, MeshError, mesh_from_arrays

MOST_SETS = 256
NO_SET = -1
# A set of which no more than this share of pixels is less than opaque is one that hides what lies behind it.
_STRAY_PIXELS = 1e-3
_OPAQUE = 0.999


@dataclass(frozen=True)
class MapSets:
    """The mesh of a job and its sets of maps.

    mesh           all triangles; those of no set only block light and sight
    triangle_set   int64 [T], 0..count-1 or -1
    vertex_set     int64 [V], the set of the triangles that use the vertex, -1 also where none does
    """

    mesh: Mesh
    triangle_set: torch.Tensor
    vertex_set: torch.Tensor
    count: int

    def part(self, number: int) -> Mesh:
        """The mesh with the triangles of one set only."""
        if self.count == 1 and bool((self.triangle_set == 0).all()):
            return self.mesh
        own = self.triangle_set == number
        return replace(self.mesh, triangles=self.mesh.triangles[own], material=self.mesh.material[own])

    def rows(self, table: SampleTable, number: int) -> SampleTable:
        """The rows of a table that tell of one set.

        Those whose nearest surface is of the set; of their further layers those before the first of another set. Where
        that cuts layers off, the nearer ones must hide them: such rows are left out in a set that lets light through.
        """
        mine, foreign = self._choose(table, number)
        if bool(mine.all()) and not bool(foreign.any()):
            return table
        chosen = mine.nonzero()[:, 0]
        rows, foreign = table.rows(chosen), foreign[chosen]
        return replace(rows, valid=rows.valid & (foreign.cumsum(1) == 0)) if bool(foreign.any()) else rows

    def row_counts(self, table: SampleTable) -> list[int]:
        """How many rows `rows` has for each set."""
        if table.valid.shape[1] > 1:
            return [int(self._choose(table, number)[0].sum()) for number in range(self.count)]
        nearest = self.vertex_set[table.corner[:, 0, 0].long()]
        return torch.bincount(nearest - NO_SET, minlength=self.count - NO_SET)[-self.count :].tolist()

    def _choose(self, table: SampleTable, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of a set, bool [P], and which layers are another set's, bool [P, K]."""
        foreign = table.valid & (self.vertex_set[table.corner[..., 0].long()] != number)
        mine = ~foreign[:, 0]
        whole = mine & ~foreign.any(1)
        translucent = float((table.alpha[whole] < _OPAQUE).float().mean()) if bool(whole.any()) else 0.0
        return (whole if translucent > _STRAY_PIXELS else mine), foreign


def map_sets(arrays: dict[str, np.ndarray]) -> MapSets:
    """The mesh and the sets of a job's arrays. Raises `JobError` for a mesh or sets that cannot be fitted."""
    try:
        given = arrays.get("triangle_set")
        if given is None:
            mesh = mesh_from_arrays(arrays)
            triangle_set = torch.zeros(len(mesh.triangles), dtype=torch.int64)
        else:
            triangle_set = _checked(given, arrays)
            mesh = mesh_from_arrays(_with_own_vertices(arrays, triangle_set))
            triangle_set = torch.from_numpy(triangle_set)
    except MeshError as error:
        raise JobError("mesh", f"The mesh cannot be fitted: {error}.", "Check the mesh in Blender.") from error
    vertex_set = torch.full((len(mesh.position),), NO_SET, dtype=torch.int64)
    vertex_set[mesh.triangles.reshape(-1)] = triangle_set.repeat_interleave(3)
    return MapSets(mesh, triangle_set, vertex_set, int(triangle_set.max()) + 1)


def on_device(sets: MapSets, device: torch.device) -> MapSets:
    """The same on a device."""
    return MapSets(sets.mesh.to(device), sets.triangle_set.to(device), sets.vertex_set.to(device), sets.count)


def _checked(given: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    triangles = arrays.get("triangles")
    count = len(triangles) if triangles is not None and triangles.ndim else 0
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise MeshError(f"triangle_set is {given.dtype} {list(given.shape)} where whole numbers [{count}] belong")
    found = np.unique(given)
    sets = found[found != NO_SET]
    if len(sets) == 0 or sets[0] != 0 or sets[-1] != len(sets) - 1:
        raise MeshError("triangle_set does not number the sets from 0 without gaps (-1: no set)")
    if len(sets) > MOST_SETS:
        raise MeshError(f"it has {len(sets)} sets of maps; at most {MOST_SETS} are fitted at one time")
    return given.astype(np.int64)


def _with_own_vertices(arrays: dict[str, np.ndarray], triangle_set: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays with vertices that several sets use doubled; unchanged where there are none or the mesh is broken."""
    triangles = arrays["triangles"]
    if triangles.ndim != 2 or triangles.shape[1] != 3 or len(triangles) == 0 or triangles.min() < 0:
        return arrays
    corner_set = np.repeat(triangle_set - NO_SET, 3)
    corner = triangles.reshape(-1).astype(np.int64)
    pairs, index = np.unique(corner * (MOST_SETS + 1) + corner_set, return_inverse=True)
    vertex = pairs // (MOST_SETS + 1)
    if (np.diff(vertex) > 0).all():
        return arrays
    names = [name for name in arrays if name.startswith("vertex_")]
    if any(arrays[name].ndim != 2 or len(arrays[name]) <= vertex.max() for name in names):
        return arrays
    doubled = {name: arrays[name][vertex] for name in names}
    return arrays | doubled | {"triangles": index.reshape(-1, 3).astype(np.int32)}
