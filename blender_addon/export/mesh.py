# SPDX-License-Identifier: GPL-3.0-or-later
"""An object for the backend: the evaluated, triangulated mesh as numpy arrays in world space.

The file does not change. Blender lends a copy of the evaluated mesh, which is read; if faces have more than four
corners, that copy is cut into triangles to compute its tangents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.axes import rotate_to_renderer
from ..common.errors import PbrFitError
from .mesh_reading import MeshReading, Readings, evaluated_mesh, read, read_corner_vertices, read_positions
from .uv_layout import polygon_boxes, polygon_tiles, tile_numbers

FRAME_STEPS = np.float32(2.0**16)  # normals and tangents to 0.0005 degrees
BLOCK = 1 << 15  # rows at a time, few enough to stay in the cache
ROUNDS = 4  # of comparing corners with the first one of their vertex; what is left is sorted

Floats = TypeVar("Floats", bound=np.floating[Any])


@dataclass(frozen=True)
class MeshExport:
    """An exported mesh.

    arrays: the wire arrays vertex_position, vertex_normal, vertex_tangent, vertex_uv, triangles, triangle_material
    (renderer's axes); world_positions: float32 [N, 3], Blender's axes, for placing cameras; uv_map: the map's name;
    used_slots: material slot indices that faces use, ascending; triangle_tile: int32 [T], the UDIM tile that a triangle
    was moved from, 0 in slots whose UVs stay.
    """

    arrays: dict[str, NDArray[Any]]
    world_positions: NDArray[np.float32]
    uv_map: str
    used_slots: tuple[int, ...]
    triangle_tile: NDArray[np.int32]


def loop_tangents(mesh: bpy.types.Mesh, uv_map: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """MikkTSpace tangents of every corner of a mesh of triangles and quads, float32 [corners, 3] in object space, and the
    signs of the bitangents, float32 [corners, 1].

    MikkTSpace gets triangles and quads as they are, as EEVEE and the glTF exporter do it. Cycles splits quads first: on
    a subdivided Suzanne of 7872 quads its tangents differ from these by 0.3 degrees in the mean.
    """
    mesh.calc_tangents(uvmap=uv_map)
    try:
        return corner_tangents(mesh)
    finally:
        mesh.free_tangents()


def triangle_tangents(
    mesh: bpy.types.Mesh, uv_map: str, triangle_loops: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tangents and signs of every triangle corner, [T * 3, 3] and [T * 3, 1], of a mesh that also has larger faces.

    Cuts the mesh, which Blender has lent, into these triangles.
    """
    cut_into_triangles(mesh, uv_map, triangle_loops)
    return loop_tangents(mesh, mesh.uv_layers[0].name)


def corner_tangents(mesh: bpy.types.Mesh) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tangent and bitangent sign of every corner after `calc_tangents`, float32 [corners, 3] and [corners, 1]."""
    return read(mesh.loops, "tangent", 3, np.float32), read(mesh.loops, "bitangent_sign", 1, np.float32)


def cut_into_triangles(mesh: bpy.types.Mesh, uv_map: str, triangle_loops: NDArray[np.int32]) -> None:
    """Turn a lent mesh into the given triangles [T, 3] of its corners, with one UV map and the same corner normals.

    Blender stores the normals with 16 bits (0.04 degrees of error at most); this affects only the tangents.
    """
    count = len(triangle_loops)
    loops = triangle_loops.ravel()
    corner_vertices = read_corner_vertices(mesh)
    uv = read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)
    normals = read(mesh.corner_normals, "vector", 3, np.float32)
    positions = read_positions(mesh)
    mesh.clear_geometry()
    mesh.vertices.add(len(positions))
    mesh.vertices.foreach_set("co", positions.ravel())
    mesh.loops.add(count * 3)
    mesh.loops.foreach_set("vertex_index", corner_vertices[loops])
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, count * 3, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(count, dtype=bool))
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv[loops].ravel())
    mesh.update(calc_edges=True)
    mesh.normals_split_custom_set(normals[loops])


def row_hashes(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One well-mixed hash, uint64 [N], for each row of uint64 [N, K]."""
    hashes = np.zeros(len(bits), dtype=np.uint64)
    for start in range(0, len(bits), BLOCK):
        mixed = hashes[start : start + BLOCK]
        for column in range(bits.shape[1]):
            mixed ^= bits[start : start + BLOCK, column]
            mixed *= np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
    return hashes


def unique_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Distinct rows of float32 [N, K], K even, compared bit by bit: (indices of first occurrences [M], inverse [N]).

    They keep the order of the rows. To sort one 64-bit hash for each row is ten times as fast as to sort rows. The
    result is checked: if two different rows share a hash, the rows themselves are sorted.
    """
    bits = np.ascontiguousarray(rows).view(np.uint64)
    _, first, inverse = np.unique(row_hashes(bits), return_index=True, return_inverse=True)
    if not same_rows(bits, first, inverse):
        _, first, inverse = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse.reshape(-1)]


def same_rows(bits: NDArray[np.uint64], first: NDArray[np.intp], inverse: NDArray[np.intp]) -> bool:
    """Whether each row [N, K] equals the first one of its group."""
    blocks = (slice(start, start + BLOCK) for start in range(0, len(bits), BLOCK))
    return all(np.array_equal(bits[first[inverse[block]]], bits[block]) for block in blocks)


def equal_corners(
    vertices: NDArray[np.int32], columns: tuple[NDArray[np.float32], ...]
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Distinct corners, compared bit by bit: (indices of first occurrences [M], ascending; inverse [C]).

    vertices: int32 [C]; columns: what else must be equal, float32 [C, K] each. Most corners equal the first corner of
    their vertex, so each is compared with that one. Those that differ are compared with the first of them, and so on.
    After some rounds, the rest is sorted.
    """
    bits: tuple[NDArray[np.int64] | NDArray[np.int32], ...] = tuple(
        column.view(np.int32) if column.shape[1] % 2 else column.view(np.int64) for column in columns
    )
    rest = np.arange(len(vertices))
    equal = rest  # for each corner the first one that equals it
    first_of = np.empty(int(vertices.max()) + 1, dtype=np.intp)
    for turn in range(ROUNDS):
        mine = vertices[rest] if turn else vertices
        first_of[mine[::-1]] = rest[::-1]  # if a vertex has several, the last one written stays
        first = first_of[mine]
        differs = different_rows(bits, first, rest)
        if turn:
            equal[rest] = first
        else:
            equal = first
        rest = rest[differs]
        if not len(rest):
            break
    else:
        rows = np.column_stack([vertices[rest].view(np.float32), *(column[rest] for column in columns)])
        first, inverse = unique_rows(rows)
        equal[rest] = rest[first[inverse]]
    is_first = equal == np.arange(len(equal))
    return np.flatnonzero(is_first), (np.cumsum(is_first, dtype=np.int32) - 1)[equal]


def different_rows(
    columns: tuple[NDArray[np.integer[Any]], ...], some: NDArray[np.intp], others: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Whether rows `some` [R] of integer columns [N, K] differ from the rows `others` [R], one by one: bool [R]."""
    differs = np.zeros(len(some), dtype=bool)
    for start in range(0, len(some), BLOCK):
        block = slice(start, start + BLOCK)
        for column in columns:
            different = column.take(some[block], axis=0) != column.take(others[block], axis=0)
            for place in range(different.shape[1]):  # numpy is slow to reduce an axis that is so short
                differs[block] |= different[:, place]
    return differs


def unit(vectors: NDArray[Floats]) -> NDArray[Floats]:
    """Rows of [N, 3] scaled to length 1; rows of length 0 stay 0."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]  # numpy is slow to reduce an axis of three
    lengths = np.sqrt(x * x + y * y + z * z)
    lengths[~(lengths > 0.0)] = 1.0
    scaled: NDArray[Floats] = vectors / lengths[:, None]
    return scaled


def perpendicular(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each normal [N, 3] any direction of length 1 that is perpendicular to it, float32 [N, 3]."""
    across = np.zeros_like(normals)
    upright = np.abs(normals[:, 2]) > 0.9
    across[upright, 0] = 1.0
    across[~upright, 2] = 1.0
    return unit(np.cross(across, normals)).astype(np.float32)


def turned(directions: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Directions [N, 3] times a matrix [3, 3], scaled to length 1, in the renderer's axes: float32 [N, 3]."""
    result = np.empty((len(directions), 3), dtype=np.float32)
    for start in range(0, len(directions), BLOCK):
        block = slice(start, start + BLOCK)
        result[block] = rotate_to_renderer(unit(directions[block] @ matrix.T))
    return result


def round_frames(vectors: NDArray[np.float32]) -> None:
    """Round normals or tangents [C, 3] in place, since Blender's sums differ a little between corners of one vertex,
    which would then count twice. Also make -0.0 into 0.0, so that both give one vertex."""
    values = vectors.reshape(-1)
    for block in (values[start : start + BLOCK] for start in range(0, len(values), BLOCK)):
        block *= FRAME_STEPS
        np.rint(block, out=block)
        block *= np.float32(1.0) / FRAME_STEPS
        block += 0.0


@dataclass(frozen=True)
class LocalMesh:
    """A mesh in the space of its object, in Blender's axes: local_positions float32 [V, 3]; of the corners: vertices
    int32 [C], normals and tangents float32 [C, 3], signs (of the bitangents) float32 [C, 1], uv float32 [C, 2];
    triangles int32 [T, 3] of corners; material and tile int32 [T]."""

    local_positions: NDArray[np.float32]
    vertices: NDArray[np.int32]
    normals: NDArray[np.float32]
    tangents: NDArray[np.float32]
    signs: NDArray[np.float32]
    uv: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    tile: NDArray[np.int32]

    def with_shared_corners(self) -> LocalMesh:
        """The same mesh, with one corner in place of all that have the same vertex, normal, tangent, sign and UV."""
        first, inverse = equal_corners(self.vertices, (self.normals, self.tangents, self.signs, self.uv))
        return replace(
            self,
            vertices=self.vertices[first],
            normals=self.normals.take(first, axis=0),
            tangents=self.tangents.take(first, axis=0),
            signs=self.signs[first],
            uv=self.uv.take(first, axis=0),
            triangles=inverse[self.triangles],
        )

    def placed(self, matrix: NDArray[np.float64]) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
        """The wire arrays of vertices (its corners) and triangles under a matrix [4, 4], in the renderer's axes, and the
        placed positions float32 [V, 3] in Blender's axes.

        Normals and tangents are transformed as Cycles does it (by the inverse transpose). Under non-uniform scale Cycles'
        bitangent is then not orthogonal to the normal, which a tangent with a sign cannot express. A matrix with a
        negative determinant flips the winding and the tangents' signs, so that faces stay front-facing.
        """
        linear = matrix[:3, :3]
        mirrored = np.linalg.det(linear) < 0.0
        normal_matrix = np.linalg.inv(linear).T
        positions = (self.local_positions @ linear.T + matrix[:3, 3]).astype(np.float32)
        tangents = turned(self.tangents, normal_matrix)
        arrays = {
            "vertex_position": rotate_to_renderer(positions).take(self.vertices, axis=0),
            "vertex_normal": turned(self.normals, normal_matrix),
            "vertex_tangent": np.concatenate([tangents, -self.signs if mirrored else self.signs], axis=1),
            "vertex_uv": self.uv,
            "triangles": self.triangles[:, ::-1] if mirrored else self.triangles,
        }
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, positions


def local_mesh(
    mesh: bpy.types.Mesh,
    reading: MeshReading,
    uv_map: str,
    slot_count: int,
    tiled_slots: frozenset[int],
    with_tangents: bool = True,
) -> LocalMesh:
    """Read what `reading` lacks of its evaluated mesh, a lent copy, which may be cut into triangles for that.

    Without a UV map all UVs are zero, and the tangents are any that are perpendicular to the normals. Without tangents these
    are zero.
    Raises RuntimeError if Blender cannot compute the tangents.
    """
    material = reading.slots_within(slot_count)
    tile = np.zeros(len(material), dtype=np.int32)
    triangles = reading.triangles
    uv = np.zeros((len(mesh.loops), 2), dtype=np.float32) if reading.uv is None else reading.uv
    tiled = np.isin(material, list(tiled_slots)) if tiled_slots else np.zeros(0, dtype=bool)
    if tiled.any():
        squares = polygon_tiles(*polygon_boxes(uv, reading.loop_starts))[0]
        squares[~tiled] = 0
        tile = np.where(tiled, tile_numbers(squares), 0).astype(np.int32)
        uv = (uv - np.repeat(squares, reading.totals, axis=0)).astype(np.float32)
    vertices, normals = reading.corner_vertices, read(mesh.corner_normals, "vector", 3, np.float32)
    if not with_tangents:
        tangents, signs = np.zeros_like(normals), np.ones((len(normals), 1), dtype=np.float32)
    elif reading.uv is None:
        tangents, signs = perpendicular(normals), np.ones((len(normals), 1), dtype=np.float32)
    elif reading.totals.max() <= 4:
        tangents, signs = loop_tangents(mesh, uv_map)
    else:
        loops = triangles.ravel()
        vertices, normals, uv = vertices[loops], normals[loops], uv[loops]
        tangents, signs = triangle_tangents(mesh, uv_map, triangles)
        triangles = np.arange(len(loops), dtype=np.int32).reshape(-1, 3)
    round_frames(normals)
    round_frames(tangents)
    polygons = reading.triangle_polygons
    return LocalMesh(
        local_positions=reading.positions,
        vertices=vertices,
        normals=normals,
        tangents=tangents,
        signs=signs,
        uv=uv,
        triangles=triangles,
        material=material[polygons],
        tile=tile[polygons],
    )


def no_uv_map(scene_object: bpy.types.Object, uv_map: str | None = None) -> PbrFitError:
    """The error that an evaluated object lacks a UV map, the one named or any."""
    own = scene_object.data.uv_layers.active
    missing = uv_map or (own.name if own is not None else None)
    if missing is None:
        return PbrFitError(f'"{scene_object.name}" has no UV map.', "Unwrap it: UV > Smart UV Project.")
    return PbrFitError(
        f'The modifiers of "{scene_object.name}" remove its UV map "{missing}".',
        "Keep the UV map in the modifiers, or convert the object to a mesh and unwrap that.",
    )


def export_mesh(
    scene_object: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    uv_map: str | None = None,
    tiled_slots: frozenset[int] = frozenset(),
    readings: Readings | None = None,
) -> MeshExport:
    """Export `scene_object` as `depsgraph` evaluates it, with the UV map named, or the one to fit (`uv_map_to_fit`).

    Faces of `tiled_slots` are moved from their UDIM tile to the first one. readings: what was read of `depsgraph` already.

    A vertex stands for all corners with the same position, normal, tangent and UV, placed as `LocalMesh.placed` does.
    Raises PbrFitError if the tangents cannot be computed (the preflight finds the known causes before).
    """
    reading = (readings or Readings(depsgraph)).of(scene_object, uv_map)
    with evaluated_mesh(scene_object, depsgraph) as mesh:
        if reading.uv is None or reading.uv_map is None:
            raise no_uv_map(scene_object, uv_map)
        uv_map = reading.uv_map
        try:
            local = local_mesh(mesh, reading, uv_map, max(1, len(scene_object.material_slots)), tiled_slots)
        except RuntimeError as error:
            raise PbrFitError(
                f'Blender cannot compute tangents of "{scene_object.name}": {error}.', "Check its UV map and its faces."
            ) from error

    local = local.with_shared_corners()
    matrix = np.array(scene_object.evaluated_get(depsgraph).matrix_world, dtype=np.float64)
    arrays, world_positions = local.placed(matrix)
    used = np.zeros(len(world_positions), dtype=bool)
    used[local.vertices] = True
    return MeshExport(
        arrays={**arrays, "triangle_material": np.ascontiguousarray(local.material)},
        world_positions=world_positions if used.all() else world_positions[used],
        uv_map=uv_map,
        used_slots=tuple(int(slot) for slot in np.flatnonzero(np.bincount(local.material))),
        triangle_tile=local.tile,
    )
