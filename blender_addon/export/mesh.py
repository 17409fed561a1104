# SPDX-License-Identifier: GPL-3.0-or-later
"""The object as the backend wants it: the evaluated, triangulated mesh as numpy arrays in world space.

Nothing of the file changes, and nothing comes into it: what is read, and where faces have more than four corners is cut
into triangles for its tangents, is a copy of the evaluated mesh that Blender lends and takes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..common.axes import rotate_to_renderer
from ..common.errors import PbrFitError
from .mesh_reading import MeshReading, Readings, evaluated_mesh, read, read_corner_vertices, read_positions
from .uv_layout import polygon_boxes, polygon_tiles, tile_numbers

FRAME_STEPS = np.float32(2.0**16)  # normals and tangents to 0.0005 degrees
BLOCK = 1 << 15  # rows that are worked on while they are in the cache
ROUNDS = 4  # of comparing corners with the first one of their vertex, before the rest is sorted


@dataclass(frozen=True)
class MeshExport:
    """An exported mesh.

    arrays: the wire arrays vertex_position, vertex_normal, vertex_tangent, vertex_uv, triangles, triangle_material
    (renderer's axes); world_positions: float32 [N, 3], Blender's axes, for placing cameras; uv_map: the map's name;
    used_slots: material slot indices that faces use, ascending; triangle_tile: int32 [T], the UDIM tile that a triangle
    was moved from, 0 for those of slots whose UVs stay.
    """

    arrays: dict[str, np.ndarray]
    world_positions: np.ndarray
    uv_map: str
    used_slots: tuple[int, ...]
    triangle_tile: np.ndarray


def loop_tangents(mesh: bpy.types.Mesh, uv_map: str) -> tuple[np.ndarray, np.ndarray]:
    """MikkTSpace tangents of every corner of a mesh of triangles and quads, float32 [corners, 3] in object space, and the
    signs of the bitangents, float32 [corners, 1].

    Triangles and quads go to MikkTSpace as they are, as for EEVEE and the glTF exporter. Cycles splits quads first: on a
    subdivided Suzanne of 7872 quads its tangents differ from these by 0.3 degrees in the mean.
    """
    mesh.calc_tangents(uvmap=uv_map)
    try:
        return corner_tangents(mesh)
    finally:
        mesh.free_tangents()


def triangle_tangents(mesh: bpy.types.Mesh, uv_map: str, triangle_loops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of every triangle corner, [T * 3, 3] and [T * 3, 1], of a mesh that also has larger faces.

    The mesh, a lent copy, is cut into these triangles.
    """
    cut_into_triangles(mesh, uv_map, triangle_loops)
    return loop_tangents(mesh, mesh.uv_layers[0].name)


def corner_tangents(mesh: bpy.types.Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Tangent and bitangent sign of every corner after `calc_tangents`, float32 [corners, 3] and [corners, 1]."""
    return read(mesh.loops, "tangent", 3, np.float32), read(mesh.loops, "bitangent_sign", 1, np.float32)


def cut_into_triangles(mesh: bpy.types.Mesh, uv_map: str, triangle_loops: np.ndarray) -> None:
    """Make a lent mesh one of the given triangles [T, 3] of its corners, with one UV map and the same corner normals.

    The normals go through Blender's 16-bit encoding (0.04 degrees at most); only the tangents see that.
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


def row_hashes(bits: np.ndarray) -> np.ndarray:
    """One well-mixed hash, uint64 [N], for each row of uint64 [N, K]."""
    hashes = np.zeros(len(bits), dtype=np.uint64)
    for start in range(0, len(bits), BLOCK):
        mixed = hashes[start : start + BLOCK]
        for column in range(bits.shape[1]):
            mixed ^= bits[start : start + BLOCK, column]
            mixed *= np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
    return hashes


def unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of float32 [N, K], K even, compared bit by bit: (indices of first occurrences [M], inverse [N]).

    They come in the order in which the rows have them. Sorting one 64-bit hash for each row is ten times as fast as
    sorting rows; the result is checked, and should two different rows ever share a hash, the slow way is taken.
    """
    bits = np.ascontiguousarray(rows).view(np.uint64)
    _, first, inverse = np.unique(row_hashes(bits), return_index=True, return_inverse=True)
    if not same_rows(bits, first, inverse):
        _, first, inverse = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse.reshape(-1)]


def same_rows(bits: np.ndarray, first: np.ndarray, inverse: np.ndarray) -> bool:
    """Whether each row [N, K] equals the first one of its group."""
    blocks = (slice(start, start + BLOCK) for start in range(0, len(bits), BLOCK))
    return all(np.array_equal(bits[first[inverse[block]]], bits[block]) for block in blocks)


def equal_corners(vertices: np.ndarray, columns: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct corners, compared bit by bit: (indices of first occurrences [M], ascending; inverse [C]).

    vertices: int32 [C]; columns: what else tells corners apart, float32 [C, K] each. Most corners equal the first one of
    their vertex, so they are compared with that; those that do not with the first of these, and so on. Only what is left
    after some rounds is sorted.
    """
    bits = tuple(column.view(np.int64 if column.shape[1] % 2 == 0 else np.int32) for column in columns)
    rest = np.arange(len(vertices))
    equal = rest  # for each corner the first that equals it
    first_of = np.empty(int(vertices.max()) + 1, dtype=np.intp)
    for turn in range(ROUNDS):
        mine = vertices[rest] if turn else vertices
        first_of[mine[::-1]] = rest[::-1]  # of several for one vertex, the last one written stays
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


def different_rows(columns: tuple[np.ndarray, ...], some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether the rows of integer columns [N, K] that are numbered by `some` [R] differ from those by `others`: [R]."""
    differs = np.zeros(len(some), dtype=bool)
    for start in range(0, len(some), BLOCK):
        block = slice(start, start + BLOCK)
        for column in columns:
            different = column.take(some[block], axis=0) != column.take(others[block], axis=0)
            for place in range(different.shape[1]):  # numpy is slow at reducing so short an axis
                differs[block] |= different[:, place]
    return differs


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of [N, 3] scaled to length 1; rows of length 0 stay 0."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]  # numpy is slow at reducing an axis of three
    lengths = np.sqrt(x * x + y * y + z * z)
    lengths[~(lengths > 0.0)] = 1.0
    return vectors / lengths[:, None]


def perpendicular(normals: np.ndarray) -> np.ndarray:
    """For each normal [N, 3] some direction of length 1 at right angles to it, float32 [N, 3]."""
    across = np.zeros_like(normals)
    upright = np.abs(normals[:, 2]) > 0.9
    across[upright, 0] = 1.0
    across[~upright, 2] = 1.0
    return unit(np.cross(across, normals)).astype(np.float32)


def turned(directions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Directions [N, 3] by a matrix [3, 3], of length 1, in the renderer's axes: float32 [N, 3]."""
    result = np.empty((len(directions), 3), dtype=np.float32)
    for start in range(0, len(directions), BLOCK):
        block = slice(start, start + BLOCK)
        result[block] = rotate_to_renderer(unit(directions[block] @ matrix.T))
    return result


def round_frames(vectors: np.ndarray) -> None:
    """Round normals or tangents [C, 3], in place, as Blender's sums round differently at corners of one vertex, which
    would then count twice. -0.0 and 0.0 are one value, and must be one vertex."""
    values = vectors.reshape(-1)
    for block in (values[start : start + BLOCK] for start in range(0, len(values), BLOCK)):
        block *= FRAME_STEPS
        np.rint(block, out=block)
        block *= np.float32(1.0) / FRAME_STEPS
        block += 0.0


@dataclass(frozen=True)
class LocalMesh:
    """A mesh as its object has it, in Blender's axes: local_positions float32 [V, 3]; of the corners: vertices int32 [C],
    normals and tangents float32 [C, 3], signs (of the bitangents) float32 [C, 1], uv float32 [C, 2]; triangles int32
    [T, 3] of corners; material and tile int32 [T]."""

    local_positions: np.ndarray
    vertices: np.ndarray
    normals: np.ndarray
    tangents: np.ndarray
    signs: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    tile: np.ndarray

    def with_shared_corners(self) -> LocalMesh:
        """The same with one corner for all those that agree in vertex, normal, tangent, sign and UV."""
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

    def placed(self, matrix: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The wire arrays of vertices (its corners) and triangles under a matrix [4, 4], in the renderer's axes, and the
        placed positions float32 [V, 3] in Blender's axes.

        Normals and tangents are transformed as Cycles does it (by the inverse transpose); under non-uniform scale Cycles'
        bitangent is then not orthogonal to the normal, which a tangent with a sign cannot express. A matrix of negative
        determinant flips the winding and the tangents' sign, so that faces stay front-facing.
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
    mesh: bpy.types.Mesh, reading: MeshReading, uv_map: str, slot_count: int, tiled_slots: frozenset[int]
) -> LocalMesh:
    """Read what `reading` lacks of its evaluated mesh, a lent copy that may be cut into triangles for it.

    Without a UV map all UVs are zero, and tangents are any that are perpendicular to the normals.
    Raises RuntimeError where Blender cannot compute the tangents.
    """
    # Blender shows faces whose index has no slot with the last slot's material.
    material = np.clip(reading.slots, 0, slot_count - 1)
    tile = np.zeros(len(material), dtype=np.int32)
    triangles = reading.triangles
    uv = np.zeros((len(mesh.loops), 2), dtype=np.float32) if reading.uv is None else reading.uv
    tiled = np.isin(material, list(tiled_slots)) if tiled_slots else np.zeros(0, dtype=bool)
    if tiled.any():
        squares = polygon_tiles(*polygon_boxes(uv, reading.loop_starts))[0]
        squares[~tiled] = 0
        tile = np.where(tiled, tile_numbers(squares), 0).astype(np.int32)
        uv = (uv - np.repeat(squares, reading.totals, axis=0)).astype(np.float32)
    vertices, normals = read_corner_vertices(mesh), read(mesh.corner_normals, "vector", 3, np.float32)
    if reading.uv is None:
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


def export_mesh(
    scene_object: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    uv_map: str | None = None,
    tiled_slots: frozenset[int] = frozenset(),
    readings: Readings | None = None,
) -> MeshExport:
    """Export `scene_object` as it is evaluated by `depsgraph`, with the UV map named, or its active one.

    Faces of `tiled_slots` are moved from their UDIM tile to the first. readings: what was read of `depsgraph` already.

    Vertices are corners, deduplicated over position, normal, tangent and UV, placed as `LocalMesh.placed` does.
    Raises PbrFitError where tangents cannot be computed (preflight finds the known causes before).
    """
    uv_map = scene_object.data.uv_layers.active.name if uv_map is None else uv_map
    reading = (readings or Readings(depsgraph)).of(scene_object, uv_map)
    with evaluated_mesh(scene_object, depsgraph) as mesh:
        if reading.uv is None:
            raise PbrFitError(
                f'The modifiers of "{scene_object.name}" remove its UV map "{uv_map}".',
                "Keep the UV map in the modifiers, or apply them and unwrap the result.",
            )
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
