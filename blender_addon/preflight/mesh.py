# SPDX-License-Identifier: GPL-3.0-or-later
"""Check evaluated meshes: their transforms, their faces, and how the faces lie in the UV map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ..export.mesh import no_uv_map
from ..export.mesh_reading import MeshReading, Readings
from ..export.plan import PER_MATERIAL
from ..export.uv_layout import BLOCK
from .finding import ERROR, WARNING, Finding
from .modifiers import can_make_uv_map, maker_of_materials, modifier_with
from .objects import UNWRAP, listed, shown_besides_mesh

SMALLEST_RELATIVE_VOLUME = 1e-9
SMALLEST_UV_AREA = 1e-12
TOLERATED_FLAT_SHARE = 0.01
FARTHEST = 1e15  # coordinates beyond this overflow float32 once they are squared
MOST_RADII = 2e4  # from the origin to the center of an object: beyond, float32 moves its vertices by a pixel or so


@dataclass(frozen=True)
class Layout:
    """How the triangles of an object lie in its UV map: corners float32 [T, 3, 2], and the slot of each, int32 [T].

    default_uv_map: the one that nodes read which name none.
    """

    scene_object: bpy.types.Object
    corners: NDArray[np.float32]
    slots: NDArray[np.int32]
    default_uv_map: str | None

    def material_of(self, slot: int) -> bpy.types.Material | None:
        """The material in a slot."""
        slots = self.scene_object.material_slots
        return slots[slot].material if slot < len(slots) else None


def transform_findings(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[Finding]:
    """The evaluated world transform: finite, invertible, and best uniform."""
    linear = np.array(scene_object.evaluated_get(depsgraph).matrix_world, dtype=np.float64)[:3, :3]
    name = scene_object.name
    if not np.isfinite(linear).all():
        yield Finding(ERROR, f'The transform of "{name}" is not finite.', "Reset it with Object > Clear.")
        return
    lengths = np.linalg.norm(linear, axis=0)
    if lengths.min() <= 0.0 or abs(np.linalg.det(linear)) < SMALLEST_RELATIVE_VOLUME * lengths.max() ** 3:
        cause = f'"{name}" is scaled to zero, so it has no volume and no surface.'
        cure = "Give it a scale other than zero on every axis (Alt S clears the scale)."
        yield Finding(ERROR, cause, cure, "pbrfit.clear_scale", scene_object.name_full)
    elif lengths.max() > 1.001 * lengths.min():
        cause = f'"{name}" is scaled differently along its axes, which distorts normal maps.'
        cure = "Apply the scale (Object > Apply > Scale) if a normal map is fitted."
        yield Finding(WARNING, cause, cure, "pbrfit.apply_scale", scene_object.name_full)


class MeshCheck:
    """Checks the evaluated mesh of an object: `findings`, and after these, if there was no error, its `layout`."""

    def __init__(self, scene_object: bpy.types.Object, readings: Readings, settings: bpy.types.PropertyGroup) -> None:
        self.layout: Layout | None = None
        self._settings = settings
        self._object = scene_object
        self._readings = readings

    def findings(self) -> Iterator[Finding]:
        """Faces, finite vertices, materials, and a UV map that covers something."""
        name = self._object.name
        reading = self._readings.of(self._object)
        if not len(reading.totals):
            yield self._no_faces_finding()
            return
        if reading.uv is None or reading.uv_map is None:
            yield self._uv_map_finding()
            return
        own = self._object.data.uv_layers.active
        if own is not None and own.name != reading.uv_map:
            cause = f'The modifiers of "{name}" remove its UV map "{own.name}".'
            yield Finding(WARNING, cause, f'PBRfit uses their UV map "{reading.uv_map}".')
        yield from self._shape_findings(reading.positions, reading.has_area)
        own_materials = tuple(slot.material for slot in self._object.material_slots)
        yield from material_findings(self._object, self._readings.materials_of(self._object), own_materials, reading)
        corners = triangle_uvs(reading.uv, reading.triangles)
        yield from uv_findings(self._object, reading.uv_map, reading.uv, corners)
        slots = reading.slots_within(len(own_materials))
        yield from self._slot_findings(slots, own_materials)
        if self._settings.use_normal and reading.totals.max() > 4:
            cause = f'{(reading.totals > 4).sum()} faces of "{name}" have more than four corners.'
            cure = "Programs split such faces differently, which shows in normal maps: triangulate them."
            yield Finding(WARNING, cause, cure, "pbrfit.triangulate", self._object.name_full)
        self.layout = Layout(self._object, corners, slots[reading.triangle_polygons], reading.default_uv_map)

    def _no_faces_finding(self) -> Finding:
        name = self._object.name
        shown = shown_besides_mesh(self._object, self._readings.depsgraph)
        if shown:
            cause = f'The geometry nodes of "{name}" make no mesh, only {listed(shown)}.'
            cure = "Add the node Realize Instances at their end, or use Object > Apply > Make Instances Real and select those."
            return Finding(ERROR, cause, cure)
        cure = "Select an object with faces, or check which modifier removes them."
        return Finding(ERROR, f'"{name}" has no faces with its modifiers applied.', cure)

    def _uv_map_finding(self) -> Finding:
        """The evaluated mesh has no UV map: unwrapping helps only where the faces are those of the object's own mesh."""
        error = no_uv_map(self._object)
        if self._object.data.uv_layers.active is None and not can_make_uv_map(self._object):
            return Finding(ERROR, error.cause, UNWRAP, "pbrfit.unwrap", self._object.name_full)
        cure = error.cure
        if self._object.data.uv_layers.active is None:
            cure = "Store one in the modifiers (a 2D Vector on the Face Corner), or convert to a mesh and unwrap that."
        return Finding(ERROR, error.cause, cure, "pbrfit.convert_to_mesh", self._object.name_full)

    def _shape_findings(self, positions: NDArray[np.float32], has_area: bool) -> Iterator[Finding]:
        name = self._object.name
        near = np.abs(positions) < FARTHEST
        broken = 0 if near.all() else int((~near.all(axis=1)).sum())
        if broken:
            cause = f'"{name}" has {broken} vertices at invalid positions (NaN, infinite or extremely far).'
            cure = "Delete them, or run Mesh > Clean Up > Delete Loose and check the modifiers."
            yield Finding(ERROR, cause, cure)
        elif not has_area:
            yield Finding(ERROR, f'All faces of "{name}" have no area.', "Give it its shape back in Edit Mode.")
        else:
            world = np.array(self._object.evaluated_get(self._readings.depsgraph).matrix_world, dtype=np.float64)
            yield from distance_findings(name, positions, world)

    def _slot_findings(self, slots: NDArray[np.int32], own: tuple[bpy.types.Material | None, ...]) -> Iterator[Finding]:
        empty = [index for index, material in enumerate(own) if material is None]
        faces = int(np.isin(slots, empty).sum()) if empty else 0
        if faces == 0:
            return
        name = self._object.name
        if faces == len(slots):
            cure = "Give it a material, or deselect the object."
            yield Finding(ERROR, f'No face of "{name}" has a material, so it has no look.', cure)
            return
        if self._settings.map_sets != PER_MATERIAL:
            cure = "PBRfit takes them as Blender shows them. Give their slot a material if you do not want that."
        else:
            cure = "PBRfit leaves them as they are. Give their slot a material if you do not want that."
        yield Finding(WARNING, f'{faces} faces of "{name}" have no material: their slot is empty.', cure)


def distance_findings(name: str, positions: NDArray[np.float32], world: NDArray[np.float64]) -> Iterator[Finding]:
    """Whether positions float32 [V, 3] are exact enough for their extent, in object space and in the world's.

    world: the object's transform [4, 4].
    """
    lowest, highest = positions.min(axis=0).astype(np.float64), positions.max(axis=0).astype(np.float64)
    corners = np.where(np.array(list(np.ndindex(2, 2, 2)), dtype=bool), highest, lowest)
    placed = corners @ world[:3, :3].T + world[:3, 3]
    for points, place, cure in (
        (
            corners,
            "its own origin",
            "Use Object > Set Origin > Origin to Geometry, then move it near the world's origin.",
        ),
        (placed, "the world's origin", "Move it there, with its parents, constraints and all that belongs to it."),
    ):
        center = points.mean(axis=0)
        radius, distance = np.linalg.norm(points - center, axis=1).max(), np.linalg.norm(center)
        if distance > MOST_RADII * radius:
            step = float(np.spacing(np.float32(np.abs(points).max())))
            cause = (
                f'"{name}" is {distance:,.0f} units from {place}, where Blender places points only to {step:.2g} units: '
                f"too coarse for its size of {2.0 * radius:.2g} units."
            )
            yield Finding(ERROR, cause, cure)
            return


def triangle_uvs(uv: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """The UVs float32 [C, 2] at the corners of triangles [T, 3]: float32 [T, 3, 2]."""
    return uv.view(np.int64)[:, 0][triangles].view(np.float32).reshape(-1, 3, 2)  # faster as one number for each pair


def material_findings(
    scene_object: bpy.types.Object,
    shown: tuple[bpy.types.Material | None, ...],
    own: tuple[bpy.types.Material | None, ...],
    reading: MeshReading,
) -> Iterator[Finding]:
    """Whether faces show the materials of the object's own slots, where the fitted ones go.

    shown: the materials of the evaluated object, by the index of a face; own: those of its slots.
    """
    name, target = scene_object.name, scene_object.name_full
    convert = "Convert the object to a mesh, which moves them into its slots (Object > Convert > Mesh)."
    indices = reading.slots_within(len(shown))
    for index in np.flatnonzero(np.bincount(indices)):
        material = shown[index] if shown else None
        # A slot beyond the last one is the last one, but only if there is none for it on the evaluated mesh either.
        has_slot = index < len(own) or (len(own) == 0 and material is None)
        if has_slot and material == (own[index] if own else None):
            continue
        modifier = maker_of_materials(scene_object, material)
        subject = f'The modifier "{modifier.name}" of "{name}"' if modifier is not None else f'A modifier of "{name}"'
        gives = f'gives it the material "{material.name}"' if material is not None else "makes faces without a material"
        cause = f"{subject} {gives} in place of its slots, where the new one goes."
        yield Finding(ERROR, cause, convert, "pbrfit.convert_to_mesh", target)
        return
    for material in dict.fromkeys(item for item in own if item is not None):
        modifier = modifier_with(scene_object, material)
        if modifier is not None and material in shown:
            cause = f'The modifier "{modifier.name}" of "{name}" itself names the material "{material.name}".'
            cure = "It may go on showing that one in place of the new one in the slot. " + convert
            yield Finding(WARNING, cause, cure, "pbrfit.convert_to_mesh", target)


def uv_findings(
    scene_object: bpy.types.Object, uv_map: str, uv: NDArray[np.float32], corners: NDArray[np.float32]
) -> Iterator[Finding]:
    """Whether UVs [C, 2] are finite, and those at the corners of triangles [T, 3, 2] have an area."""
    name, target = scene_object.name, scene_object.name_full
    if not np.isfinite(uv).all():
        cause = f'The UV map "{uv_map}" of "{name}" holds values that are not numbers.'
        yield Finding(ERROR, cause, "Unwrap again.", "pbrfit.unwrap", target)
        return
    flat = float((uv_areas(corners) < SMALLEST_UV_AREA).mean())
    if flat == 1.0:
        cause = f'All faces of "{name}" have no area in its UV map "{uv_map}".'
        yield Finding(ERROR, cause, "Unwrap it.", "pbrfit.unwrap", target)
    elif flat > TOLERATED_FLAT_SHARE:
        cause = f'{flat:.0%} of the triangles of "{name}" have no area in its UV map.'
        yield Finding(WARNING, cause, "Unwrap these faces, or they get one color each.", "pbrfit.unwrap", target)


def uv_areas(corners: NDArray[np.float32]) -> NDArray[np.float64]:
    """The areas float64 [T] of triangles float32 [T, 3, 2] in the map."""
    areas = np.empty(len(corners))
    for start in range(0, len(corners), BLOCK):
        block = slice(start, start + BLOCK)
        ax, ay, bx, by, cx, cy = corners[block].reshape(-1, 6).T.astype(np.float64, order="C")
        np.abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax), out=areas[block])
    areas *= 0.5
    return areas
