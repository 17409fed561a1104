"""A job's sets of maps: which triangles, and so which rows of the sample table, belong to each.

A mesh may bring the array `triangle_set`. Each set is fitted to the rows on its own triangles. Vertices that triangles of
several sets share are doubled, so that a row's set is that of its corners.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.fit.sample_table import SampleTable
from backend.job.model import JobError
from render.geometry.mesh import Mesh, MeshError, mesh_from_arrays

MOST_SETS = 256
NO_SET = -1
# Where float32 still tells apart what a fit must tell apart.
LARGEST_POSITION, LARGEST_UV = 1e12, 1e6
# A set hides what lies behind it if no more than this share of its pixels is less than opaque.
_STRAY_PIXELS = 1e-3
_OPAQUE = 0.999


@dataclass(frozen=True)
class MapSets:
    """The mesh of a job and its sets of maps.

    mesh           all triangles; those of no set only block light and view
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
        """The rows of a table that show one set: those whose nearest surface belongs to it.

        A row ends before its first layer of another set. Where that cuts layers off, the nearer ones must hide them: a set
        that lets light through leaves such rows out.
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
        """The rows of a set, bool [P], and which layers belong to another set, bool [P, K]."""
        foreign = table.valid & (self.vertex_set[table.corner[..., 0].long()] != number)
        mine = ~foreign[:, 0]
        whole = mine & ~foreign.any(1)
        translucent = float((table.alpha[whole] < _OPAQUE).float().mean()) if bool(whole.any()) else 0.0
        return (whole if translucent > _STRAY_PIXELS else mine), foreign


def map_sets(arrays: dict[str, NDArray[Any]]) -> MapSets:
    """The mesh and the sets of a job's arrays. Raises `JobError` for a mesh or sets that cannot be fitted."""
    try:
        given = arrays.get("triangle_set")
        if given is None:
            mesh = mesh_from_arrays(arrays)
            triangle_set = torch.zeros(len(mesh.triangles), dtype=torch.int64)
        else:
            numbers = _checked(given, arrays)
            mesh = mesh_from_arrays(_with_own_vertices(arrays, numbers))
            triangle_set = torch.from_numpy(numbers)
        _check_bounds(mesh)
    except MeshError as error:
        raise JobError("mesh", f"The mesh cannot be fitted: {error}.", "Check the mesh in Blender.") from error
    vertex_set = torch.full((len(mesh.position),), NO_SET, dtype=torch.int64)
    vertex_set[mesh.triangles.reshape(-1)] = triangle_set.repeat_interleave(3)
    return MapSets(mesh, triangle_set, vertex_set, int(triangle_set.max()) + 1)


def on_device(sets: MapSets, device: torch.device) -> MapSets:
    """The same sets on a device."""
    return MapSets(sets.mesh.to(device), sets.triangle_set.to(device), sets.vertex_set.to(device), sets.count)


def _check_bounds(mesh: Mesh) -> None:
    """Raises `MeshError` where numbers are so large that nothing can be computed with them."""
    for name, values, most in (("positions", mesh.position, LARGEST_POSITION), ("UVs", mesh.uv, LARGEST_UV)):
        if values.numel() and float(values.abs().max()) > most:
            raise MeshError(f"it has {name} of {float(values.abs().max()):.3g}; at most {most:.0e} can be used")


def _checked(given: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """The array `triangle_set`, int64 [T]. Raises `MeshError`."""
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


def _with_own_vertices(arrays: dict[str, NDArray[Any]], triangle_set: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The arrays with a copy of each vertex for every set that uses it; unchanged if none is shared or the mesh is broken."""
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
