# SPDX-License-Identifier: GPL-3.0-or-later
"""The object as the backend wants it: the evaluated, triangulated mesh as numpy arrays in world space.

Nothing of the file changes: the evaluated mesh belongs to the dependency graph, and where faces with more than four
corners need a triangulated copy for the tangents, that copy is removed before this returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from .axes import rotate_to_renderer
from .errors import PbrFitError
from .uv_layout import polygon_tiles, tile_numbers

FRAME_STEPS = np.float32(2.0**16)  # normals and tangents to 0.0005 degrees
BLOCK = 1 << 16  # rows that are worked on while they are in the cache


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


@contextmanager
def evaluated_mesh(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[bpy.types.Mesh]:
    """The mesh of `scene_object` with modifiers and shape keys applied, as the viewport shows it, in object space."""
    evaluated = scene_object.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
    try:
        yield mesh
    finally:
        evaluated.to_mesh_clear()


def loop_tangents(mesh: bpy.types.Mesh, uv_map: str) -> np.ndarray:
    """MikkTSpace tangents of every corner of a mesh of triangles and quads, float32 [corners, 4].

    They are in object space, w is the bitangent sign. Triangles and quads go to MikkTSpace as they are, as for EEVEE and
    the glTF exporter. Cycles splits quads first: on a subdivided Suzanne of 7872 quads its tangents differ from these by
    0.3 degrees in the mean.
    """
    mesh.calc_tangents(uvmap=uv_map)
    try:
        return corner_tangents(mesh)
    finally:
        mesh.free_tangents()


def triangle_tangents(mesh: bpy.types.Mesh, uv_map: str, triangle_loops: np.ndarray) -> np.ndarray:
    """The same of every triangle corner, float32 [T * 3, 4], of a mesh that also has larger faces."""
    copy = triangulated_copy(mesh, uv_map, triangle_loops)
    try:
        copy.calc_tangents(uvmap=copy.uv_layers[0].name)
        return corner_tangents(copy)
    finally:
        bpy.data.meshes.remove(copy)


def corner_tangents(mesh: bpy.types.Mesh) -> np.ndarray:
    """Tangent and sign of every corner after `calc_tangents`, float32 [corners, 4]."""
    tangents = np.empty((len(mesh.loops), 4), dtype=np.float32)
    tangents[:, :3] = read(mesh.loops, "tangent", 3, np.float32)
    tangents[:, 3] = read(mesh.loops, "bitangent_sign", 1, np.float32)[:, 0]
    return tangents


def triangulated_copy(mesh: bpy.types.Mesh, uv_map: str, triangle_loops: np.ndarray) -> bpy.types.Mesh:
    """A new mesh of the given triangles [T, 3] of corners, with one UV map and the corner normals of `mesh`.

    The normals go through Blender's 16-bit encoding (0.04 degrees at most); only the tangents see that.
    """
    count = len(triangle_loops)
    loops = triangle_loops.ravel()
    corner_vertices = read(mesh.loops, "vertex_index", 1, np.int32)[:, 0]
    uv = read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)
    normals = read(mesh.corner_normals, "vector", 3, np.float32)
    copy = bpy.data.meshes.new("PBRfit triangulated")
    copy.vertices.add(len(mesh.vertices))
    copy.vertices.foreach_set("co", read(mesh.vertices, "co", 3, np.float32).ravel())
    copy.loops.add(count * 3)
    copy.loops.foreach_set("vertex_index", corner_vertices[loops])
    copy.polygons.add(count)
    copy.polygons.foreach_set("loop_start", np.arange(0, count * 3, 3, dtype=np.int32))
    copy.polygons.foreach_set("use_smooth", np.ones(count, dtype=bool))
    copy.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv[loops].ravel())
    copy.update(calc_edges=True)
    copy.normals_split_custom_set(normals[loops])
    return copy


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


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of [N, 3] scaled to length 1; rows of length 0 stay 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0.0, lengths, 1.0)


@dataclass(frozen=True)
class LocalMesh:
    """A mesh as its object has it: local_positions float32 [V, 3]; corners float32 [C, 10], each vertex (the number's
    bits), normal, tangent, bitangent sign and uv; triangles int32 [T, 3] of corners; material and tile int32 [T]."""

    local_positions: np.ndarray
    corners: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    tile: np.ndarray


def local_mesh(mesh: bpy.types.Mesh, uv_map: str, slot_count: int, tiled_slots: frozenset[int]) -> LocalMesh:
    """Read an evaluated mesh. Raises RuntimeError where Blender cannot compute its tangents."""
    triangles = read(mesh.loop_triangles, "loops", 3, np.int32)
    triangle_polygons = read(mesh.loop_triangles, "polygon_index", 1, np.int32)[:, 0]
    totals = read(mesh.polygons, "loop_total", 1, np.int32)[:, 0]
    # Blender shows faces whose index has no slot with the last slot's material.
    material = np.clip(read_attribute(mesh, "material_index", "value", 1, np.int32)[:, 0], 0, slot_count - 1)
    tiled = np.isin(material, list(tiled_slots))
    uv = read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)
    tile = np.zeros(len(material), dtype=np.int32)
    if tiled.any():
        squares = polygon_tiles(uv, read(mesh.polygons, "loop_start", 1, np.int32)[:, 0])[0]
        squares[~tiled] = 0
        tile = np.where(tiled, tile_numbers(squares), 0).astype(np.int32)
        uv -= np.repeat(squares, totals, axis=0)
    corners = np.empty((len(uv), 10), dtype=np.float32)
    corners[:, 1:4] = read(mesh.corner_normals, "vector", 3, np.float32)
    corners[:, 8:10] = uv
    corners[:, 0] = read(mesh.loops, "vertex_index", 1, np.int32)[:, 0].view(np.float32)
    positions = read(mesh.vertices, "co", 3, np.float32)
    if totals.max() <= 4:
        corners[:, 4:8] = loop_tangents(mesh, uv_map)
    else:
        corners = corners[triangles.ravel()]
        corners[:, 4:8] = triangle_tangents(mesh, uv_map, triangles)
        triangles = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    # Blender's sums round differently at corners of one vertex, which would then count twice.
    for block in (corners[start : start + BLOCK, 1:7] for start in range(0, len(corners), BLOCK)):
        np.rint(block * FRAME_STEPS, out=block)
        block /= FRAME_STEPS
    corners[:, 1:] += 0.0  # -0.0 and 0.0 are one value, and must be one vertex
    return LocalMesh(positions, corners, triangles, material[triangle_polygons], tile[triangle_polygons])


def export_mesh(
    scene_object: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    uv_map: str | None = None,
    tiled_slots: frozenset[int] = frozenset(),
) -> MeshExport:
    """Export `scene_object` as it is evaluated by `depsgraph`, with the UV map named, or its active one.

    Faces of `tiled_slots` are moved from their UDIM tile to the first.

    Vertices are corners, deduplicated over position, normal, tangent and UV. Normals and tangents are transformed as
    Cycles does it (by the inverse transpose); under non-uniform scale Cycles' bitangent is then not orthogonal to
    the normal, which a tangent with a sign cannot express. A world matrix of negative determinant flips the winding
    and the tangents' sign, so that faces stay front-facing.
    Raises PbrFitError where tangents cannot be computed (preflight finds the known causes before).
    """
    uv_map = scene_object.data.uv_layers.active.name if uv_map is None else uv_map
    with evaluated_mesh(scene_object, depsgraph) as mesh:
        if uv_map not in mesh.uv_layers:
            raise PbrFitError(
                f'The modifiers of "{scene_object.name}" remove its UV map "{uv_map}".',
                "Keep the UV map in the modifiers, or apply them and unwrap the result.",
            )
        try:
            local = local_mesh(mesh, uv_map, max(1, len(scene_object.material_slots)), tiled_slots)
        except RuntimeError as error:
            raise PbrFitError(
                f'Blender cannot compute tangents of "{scene_object.name}": {error}.', "Check its UV map and its faces."
            ) from error

    matrix = np.array(scene_object.evaluated_get(depsgraph).matrix_world, dtype=np.float64)
    linear = matrix[:3, :3]
    mirrored = np.linalg.det(linear) < 0.0
    normal_matrix = np.linalg.inv(linear).T
    world_positions = (local.local_positions @ linear.T + matrix[:3, 3]).astype(np.float32)
    first, inverse = unique_rows(local.corners)
    rows = local.corners[first]
    vertices = np.ascontiguousarray(rows[:, 0]).view(np.int32)
    tangents = np.empty((len(rows), 4), dtype=np.float32)
    tangents[:, :3] = rotate_to_renderer(unit(rows[:, 4:7] @ normal_matrix.T))
    tangents[:, 3] = -rows[:, 7] if mirrored else rows[:, 7]
    triangles = inverse.astype(np.int32)[local.triangles]
    arrays = {
        "vertex_position": rotate_to_renderer(world_positions)[vertices],
        "vertex_normal": rotate_to_renderer(unit(rows[:, 1:4] @ normal_matrix.T)),
        "vertex_tangent": tangents,
        "vertex_uv": rows[:, 8:10],
        "triangles": triangles[:, ::-1] if mirrored else triangles,
        "triangle_material": local.material,
    }
    used = np.zeros(len(world_positions), dtype=bool)
    used[vertices] = True
    return MeshExport(
        arrays={name: np.ascontiguousarray(array) for name, array in arrays.items()},
        world_positions=world_positions[used],
        uv_map=uv_map,
        used_slots=tuple(int(slot) for slot in np.unique(local.material)),
        triangle_tile=local.tile,
    )
