# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack the UV islands of objects side by side into one square, in a new UV map; where that fails, nothing of it is left."""

from __future__ import annotations

import math
from contextlib import ExitStack

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..export.mesh import no_uv_map
from ..export.mesh_reading import MeshReading, read_mesh
from ..protocol.map_shape import MapSize
from .copies import reads_only
from .islands import fill_their_boxes, laid_along, triangle_areas
from .mesh import FARTHEST
from .overlaps import are_twins
from .unwrapping import (
    MARGINS,
    add_uv_map,
    alone,
    check_unwrappable,
    edited,
    free_name,
    has_room,
    pack_selected,
    remove_uv_map,
    square_texels,
    write_beside,
)

SMALLEST_AREA = 1e-12
FILLED = 0.6  # of a square, by islands that are packed


def pack(context: bpy.types.Context, objects: list[bpy.types.Object], size: MapSize) -> None:
    """Pack the islands of the active UV maps of objects into a new UV map of each, which becomes the active one.

    size: height and width of the maps. Islands keep their shape on the surface; those of different materials and objects get
    the same number of texels for each area. Islands that lie over each other, such as mirrored halves, stay so where they look
    the same. Materials still read the same map by default. Raises PbrFitError if a mesh has no UV map of its own or no room for
    another one, cannot be changed, or belongs to objects of different materials; RuntimeError as Blender's operators do. The
    meshes are as before then.
    """
    owners: dict[bpy.types.Mesh, bpy.types.Object] = {}
    for item in objects:
        check_unwrappable(item)
        if item.data.uv_layers.active is None:
            raise no_uv_map(item)
        owner = owners.setdefault(item.data, item)
        if not are_twins(owner, item):
            raise PbrFitError(
                f'"{owner.name}" and "{item.name}" share a mesh, and so its UV map, but have different materials.',
                "Give each its own mesh: Object > Relations > Make Single User > Object & Data.",
            )
    name = free_name(owners)
    with alone(context, objects), ExitStack() as undo:
        stacks, areas = True, 0.0
        readings: dict[bpy.types.Mesh, MeshReading] = {}
        uvs: dict[bpy.types.Mesh, NDArray[np.float64]] = {}
        for mesh, owner in owners.items():
            before = mesh.uv_layers.active.name
            reading = read_mesh(mesh, before)
            check_numbers(owner, before, reading)
            readings[mesh], uvs[mesh] = reading, side_by_side(owner, reading, size)
            areas += float(triangle_areas(uvs[mesh][reading.triangles]).sum())
            stacks = stacks and stays_stacked(owner, before, reading)
            undo.callback(remove_uv_map, mesh, *add_uv_map(mesh, name))
        if size[0] != size[1]:
            uvs = {mesh: laid_along(uv, readings[mesh], size, stacks) for mesh, uv in uvs.items()}
        boxes = fill_their_boxes((readings[mesh], uv) for mesh, uv in uvs.items())
        # About as large as they will be, so that a margin is about what it will be.
        scale = np.sqrt(FILLED / areas) if areas > SMALLEST_AREA else 1.0
        for texels in MARGINS:
            write_beside({mesh.uv_layers[name]: uv for mesh, uv in uvs.items()}, scale)
            with edited(owners):
                bpy.ops.uv.select_all(action="SELECT")
                done = pack_selected(texels / min(size), stacks, boxes)
            if done != {"FINISHED"}:
                raise PbrFitError("Blender did not pack the islands.", "Pack them in the UV Editor: UV > Pack Islands.")
            if has_room(owners, name):
                break
        move_to_first_square([mesh.uv_layers[name] for mesh in owners])
        undo.pop_all()


def check_numbers(scene_object: bpy.types.Object, uv_map: str, reading: MeshReading) -> None:
    """Raise PbrFitError where a mesh has UVs or positions on which Blender's own packing crashes."""
    assert reading.uv is not None  # its map was read by name
    name = scene_object.name
    if not np.isfinite(reading.uv).all():
        cause = f'The UV map "{uv_map}" of "{name}" holds values that are not numbers.'
        raise PbrFitError(cause, "Unwrap again.")
    broken = int((~(np.abs(reading.positions) < FARTHEST)).any(axis=1).sum())
    if broken:
        cause = f'"{name}" has {broken} vertices at invalid positions (NaN, infinite or extremely far).'
        raise PbrFitError(cause, "Delete them, or run Mesh > Clean Up > Delete Loose and check the modifiers.")
    if not np.isfinite(scene_object.matrix_world).all():
        raise PbrFitError(f'The transform of "{name}" is not finite.', "Reset it with Object > Clear.")


def side_by_side(scene_object: bpy.types.Object, reading: MeshReading, size: MapSize) -> NDArray[np.float64]:
    """The UVs of a mesh [C, 2] with what each of its materials has beside the others, at the scale of the surface in maps of
    this height and width."""
    assert reading.uv is not None  # its map was read by name
    uv = reading.uv.astype(np.float64)
    slots = scene_object.material_slots
    of_face = reading.slots_within(len(slots))
    linear = np.array(scene_object.matrix_world, dtype=np.float64)[:3, :3]
    places = reading.positions[reading.corner_vertices[reading.triangles]].astype(np.float64) @ linear.T
    surface = np.linalg.norm(np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]), axis=1)
    right = 0.0
    materials = [slots[index].material if len(slots) else None for index in range(max(1, len(slots)))]
    for material in dict.fromkeys(materials):
        same = [index for index, other in enumerate(materials) if other == material]
        faces = np.isin(of_face, same)
        mine = np.repeat(faces, reading.totals)
        if not mine.any():
            continue
        triangles = faces[reading.triangle_polygons]
        uv[mine] *= in_shape(uv[reading.triangles[triangles]], places[triangles], size)
        area = 2.0 * triangle_areas(uv[reading.triangles[triangles]]).sum()
        scale = np.sqrt(surface[triangles].sum() / area) if area > SMALLEST_AREA else 1.0
        moved = uv[mine] * scale
        low, high = moved.min(axis=0), moved.max(axis=0)
        uv[mine] = moved - low + (right, 0.0)
        right += float(high[0] - low[0]) * 1.01 + 0.01
    return uv


def in_shape(uv: NDArray[np.float64], places: NDArray[np.float64], size: MapSize) -> NDArray[np.float64]:
    """What UVs must be multiplied by, [2], so that texels in maps of this height and width are square where they would be in
    square maps: 1 where the UVs [T, 3, 2] of triangles at places [T, 3, 3] are rather made for maps of this shape already."""
    wanted = math.log(size[1] / size[0])
    known = stretch(uv, places)
    return np.ones(2) if abs(known - wanted) < abs(known) else square_texels(size)


def stretch(uv: NDArray[np.float64], places: NDArray[np.float64]) -> float:
    """How much longer on the surface the square of the UV map is along u than along v: the logarithm of the ratio, as the mean
    by area over triangles [T, 3, 2] at places [T, 3, 3]; 0 where all of them are degenerate."""
    (u1, v1), (u2, v2) = (np.moveaxis(uv[:, corner] - uv[:, 0], -1, 0) for corner in (1, 2))
    first, second = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
    # Of the edges of both triangles: what lies along u and along v, each times the area in the UV map.
    along_u = np.linalg.norm(v2[:, None] * first - v1[:, None] * second, axis=1)
    along_v = np.linalg.norm(u1[:, None] * second - u2[:, None] * first, axis=1)
    areas = np.linalg.norm(np.cross(first, second), axis=1)
    good = (np.abs(u1 * v2 - u2 * v1) > SMALLEST_AREA) & (areas > SMALLEST_AREA)
    if not good.any():
        return 0.0
    return float(np.average(np.log(along_u[good] / along_v[good]), weights=areas[good]))


def stays_stacked(scene_object: bpy.types.Object, uv_map: str, reading: MeshReading) -> bool:
    """Whether islands of an object that lie over each other look the same there."""
    materials = {slot.material for slot in scene_object.material_slots} or {None}
    return all(reads_only(material, uv_map, reading.default_uv_map) for material in materials)


def move_to_first_square(layers: list[bpy.types.MeshUVLoopLayer]) -> None:
    """Move UV maps together by whole squares, so that they lie in the first one."""
    read = []
    for layer in layers:
        uv = np.empty(len(layer.uv) * 2, np.float32)
        layer.uv.foreach_get("vector", uv)
        read.append(uv.reshape(-1, 2))
    square = np.floor(np.mean([(uv.min(axis=0) + uv.max(axis=0)) / 2.0 for uv in read], axis=0))
    for layer, uv in zip(layers, read, strict=True):
        layer.uv.foreach_set("vector", np.clip(uv - square, 0.0, 1.0).astype(np.float32).ravel())
