# SPDX-License-Identifier: GPL-3.0-or-later
"""What a click fits: selected objects in groups that share materials, their sets of maps, and the arrays of a group.

A group is what one fit handles; for the backend it is one job.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..common.names import RECORD
from .mesh import MeshExport, export_mesh, no_uv_map
from .mesh_reading import MeshReading, Readings, Scalar
from .uv_layout import BORDER, FIRST_TILE, polygon_boxes, polygon_tiles, tile_numbers

MOST_SETS = 256  # in one group: what the backend accepts
PER_MATERIAL, PER_OBJECT, ONE_FOR_ALL = "SLOT", "OBJECT", "ALL"
"""What a set of maps is for."""
LOOKED_AT = 64  # faces of a slot, to find one with an area in the UV map


@dataclass(frozen=True)
class ObjectUse:
    """An object of a group: its name, and the number that still identifies it after a new name."""

    name: str
    uid: int


@dataclass(frozen=True)
class SlotUse:
    """A material slot of an object."""

    object_uid: int
    slot_index: int


@dataclass(frozen=True)
class MapSet:
    """One set of maps. name: of the material, or of the object; slots: whose faces it covers; uv_maps: the UV map that
    reads it, by object number; tile: its UDIM tile, or 0 without tiles."""

    name: str
    slots: tuple[SlotUse, ...]
    uv_maps: dict[int, str]
    tile: int = 0


@dataclass(frozen=True)
class GroupPlan:
    """A group: objects that are fitted together, and the sets of maps that they get."""

    objects: tuple[ObjectUse, ...]
    sets: tuple[MapSet, ...]

    def rebound(self, uids: dict[int, int]) -> GroupPlan:
        """The same plan with other object numbers (old to new), for example after the file was loaded again."""
        return GroupPlan(
            tuple(replace(item, uid=uids[item.uid]) for item in self.objects),
            tuple(
                replace(
                    item,
                    slots=tuple(replace(slot, object_uid=uids[slot.object_uid]) for slot in item.slots),
                    uv_maps={uids[uid]: name for uid, name in item.uv_maps.items()},
                )
                for item in self.sets
            ),
        )


@dataclass(frozen=True)
class GroupExport:
    """The wire arrays of a group (renderer's axes), and its world positions float32 [N, 3] in Blender's axes."""

    arrays: dict[str, NDArray[Any]]
    world_positions: NDArray[np.float32]


def target_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The objects to fit: the selected meshes, the active one first; if none is selected, the active object."""
    objects = context.view_layer.objects
    active = objects.active
    chosen = [item for item in objects.selected if item.type == "MESH"]
    if not chosen:
        return [active] if active is not None else []
    return sorted(chosen, key=lambda item: item != active)


def objects_of(plan: GroupPlan) -> dict[int, bpy.types.Object | None]:
    """The mesh objects of a plan by number, None for those that no longer exist."""
    present = {item.session_uid: item for item in bpy.data.objects if item.type == "MESH"}
    return {use.uid: present.get(use.uid) for use in plan.objects}


# Planning -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UsedSlot:
    """A slot that faces use. uv_map: the map of its object to fit; tiles: the UDIM tiles of its faces in it, or none if
    a face does not lie in one tile."""

    scene_object: bpy.types.Object
    index: int
    material: bpy.types.Material | None
    uv_map: str
    tiles: frozenset[int]


def used_slots(scene_object: bpy.types.Object, readings: Readings) -> list[UsedSlot]:
    """The slots that faces of the evaluated object use, ascending. Raises PbrFitError if its UV map is missing."""
    reading = readings.of(scene_object)
    if reading.uv is None or reading.uv_map is None:
        raise no_uv_map(scene_object)
    slots = scene_object.material_slots
    tiles = slot_tiles(reading.uv, reading, reading.slots_within(len(slots)))
    return [
        UsedSlot(scene_object, index, slots[index].material if len(slots) else None, reading.uv_map, tiles[index])
        for index in tiles
    ]


def slot_tiles(uv: NDArray[np.float32], reading: MeshReading, indices: NDArray[np.int32]) -> dict[int, frozenset[int]]:
    """The UDIM tiles of the faces of each slot, by slot, ascending; none if a face does not lie in one tile.

    uv: of the reading; indices: int32 [P], the slot of each face.
    """
    present = [int(index) for index in np.flatnonzero(np.bincount(indices))]
    of_slot = {index: indices == index for index in present}
    # In the first square every face with an area is in the first tile, and faces without area add no other tile.
    in_first = uv.size and uv.min() >= 0.0 and uv.max() <= 1.0
    if in_first and all(has_wide(uv, reading, of_slot[index]) for index in present):
        return dict.fromkeys(present, frozenset({FIRST_TILE}))
    lowest, highest = polygon_boxes(uv, reading.loop_starts)
    squares, within = polygon_tiles(lowest, highest)
    numbers = np.where(within, tile_numbers(squares), 0)
    wide = (highest - lowest).min(axis=1) > BORDER
    found = {}
    for index, mine in of_slot.items():
        # A face without area on the border of a tile adds no tile.
        counted = mine & (wide | ~wide[mine].any())
        tiles = frozenset(int(number) for number in np.unique(numbers[counted]))
        found[index] = frozenset() if 0 in tiles else tiles
    return found


def has_wide(uv: NDArray[np.float32], reading: MeshReading, chosen: NDArray[np.bool_]) -> bool:
    """Whether one of the first few chosen polygons, bool [P], has an extent in both directions of the UV map."""
    for polygon in np.flatnonzero(chosen)[:LOOKED_AT]:
        start = reading.loop_starts[polygon]
        corners = uv[start : start + reading.totals[polygon]]
        if (corners.max(axis=0) - corners.min(axis=0)).min() > BORDER:
            return True
    return False


def plan_groups(context: bpy.types.Context, readings: Readings | None = None) -> list[GroupPlan]:
    """The groups of `context`'s targets, by the scene's setting `map_sets`; changes nothing.

    "SLOT": one set of maps for each material, and objects that share a material form one group; faces without a material
    get no set, block light and stay as they are. "OBJECT": one group and one set for each object, with all its faces.
    "ALL": one group and one set for all objects, with all their faces.
    If the faces of a set lie in several whole UDIM tiles and `use_udim` is on, each tile has its own set.
    readings: what was read already. Raises PbrFitError if an object has no UV map or no face with a material, or if a
    group has too many sets.
    """
    settings = context.scene.pbrfit
    readings = readings or Readings(context.evaluated_depsgraph_get())
    scope = settings.map_sets
    groups: list[list[UsedSlot]] = []
    for scene_object in target_objects(context):
        slots = used_slots(scene_object, readings)
        if all(slot.material is None for slot in slots):
            raise PbrFitError(
                f'No face of "{scene_object.name}" has a material, so it has no look.',
                "Give it a material, or deselect the object.",
            )
        if scope == PER_MATERIAL:
            slots = [slot for slot in slots if slot.material is not None]
        groups = joined(groups, slots, scope)
    return [group_plan(group, scope, settings.use_udim) for group in groups]


def joined(groups: list[list[UsedSlot]], slots: list[UsedSlot], scope: str) -> list[list[UsedSlot]]:
    """The groups with the slots of one more object: in one with all groups that share a material or, if all share one set, with
    every group; or as a new one."""
    materials = {slot.material for slot in slots}
    mine: list[UsedSlot] = []
    others: list[list[UsedSlot]] = []
    place: int | None = None
    for group in groups:
        shares = bool(materials & {slot.material for slot in group})
        if scope == ONE_FOR_ALL or (scope == PER_MATERIAL and shares):
            place = len(others) if place is None else place
            mine += group
        else:
            others.append(group)
    others.insert(len(others) if place is None else place, mine + slots)
    return others


def group_plan(slots: list[UsedSlot], scope: str, use_udim: bool) -> GroupPlan:
    """The plan of one group. Raises PbrFitError if it has more than 256 sets."""
    by_owner: dict[bpy.types.Object | bpy.types.Material, list[UsedSlot]] = {}
    for slot in slots:
        by_owner.setdefault(owner_of(slot, slots, scope), []).append(slot)
    sets: list[MapSet] = []
    for owner, owned in by_owner.items():
        uses = tuple(SlotUse(slot.scene_object.session_uid, slot.index) for slot in owned)
        uv_maps = {slot.scene_object.session_uid: slot.uv_map for slot in owned}
        tiles = tiles_of(owned) if use_udim else (0,)
        sets += [MapSet(set_name(owner), uses, uv_maps, tile) for tile in tiles]
    if len(sets) > MOST_SETS:
        raise PbrFitError(
            f"The selection needs {len(sets)} sets of maps at one time; the most is {MOST_SETS}.",
            "Select fewer objects, or choose one set per object or no UDIM tiles in the settings.",
        )
    objects = {slot.scene_object.session_uid: slot.scene_object.name for slot in slots}
    return GroupPlan(tuple(ObjectUse(name, uid) for uid, name in objects.items()), tuple(sets))


def owner_of(slot: UsedSlot, slots: list[UsedSlot], scope: str) -> bpy.types.Object | bpy.types.Material:
    """What the set of a slot is named after: its material or object, or the first object if there is one set for all."""
    if scope == PER_MATERIAL:
        return slot.material
    return slots[0].scene_object if scope == ONE_FOR_ALL else slot.scene_object


def set_name(owner: bpy.types.Object | bpy.types.Material) -> str:
    """The name of a set: that of its object or material; a fitted material keeps the name of the set it was made for."""
    if isinstance(owner, bpy.types.Material) and RECORD in owner:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # somebody has changed it
            return str(json.loads(str(owner[RECORD]))["set"])
    return str(owner.name)


def tiles_of(group: Iterable[UsedSlot]) -> tuple[int, ...]:
    """The UDIM tiles of a set's slots; (0,) if all faces lie in the first tile, or a face does not lie in one tile."""
    if not all(slot.tiles for slot in group):
        return (0,)
    tiles = sorted(frozenset().union(*(slot.tiles for slot in group)))
    return (0,) if tiles == [FIRST_TILE] else tuple(tiles)


# Exporting ----------------------------------------------------------------------------------------------------------


def export_group(
    plan: GroupPlan, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph, readings: Readings | None = None
) -> GroupExport:
    """The objects of a plan as one mesh in world space, as `depsgraph` (that of `context`) evaluates them.

    The arrays are those of `export_mesh`; materials are numbered over all slots of all objects. If there are several
    sets, or faces without one, `triangle_set` int32 [T] is the number of each triangle's set, -1 for none. UVs of a UDIM
    tile are moved to the first one. readings: what was read of `depsgraph` already. Raises PbrFitError if an object no
    longer exists or cannot be exported.
    """
    readings = readings or Readings(depsgraph)
    parts: list[MeshExport] = []
    sets: list[NDArray[np.int32]] = []
    vertices = materials = 0
    objects = objects_of(plan)
    present = {item.session_uid for item in context.view_layer.objects}
    for use in plan.objects:
        scene_object = objects[use.uid]
        if scene_object is None or use.uid not in present:
            raise PbrFitError(f'The object "{use.name}" is gone.', "Select what to fit, and start again.")
        part = export_part(plan, scene_object, depsgraph, readings)
        sets.append(triangle_sets(plan, use.uid, part))
        part.arrays["triangles"] += vertices
        part.arrays["triangle_material"] += materials
        vertices += len(part.arrays["vertex_position"])
        materials += max(1, len(scene_object.material_slots))
        parts.append(part)
    arrays = {name: joined_rows([part.arrays[name] for part in parts]) for name in parts[0].arrays}
    triangle_set = joined_rows(sets)
    if triangle_set.any():
        arrays["triangle_set"] = triangle_set
    return GroupExport(arrays, joined_rows([part.world_positions for part in parts]))


def joined_rows(arrays: list[NDArray[Scalar]]) -> NDArray[Scalar]:
    """One array after the other; a single one is not copied."""
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def export_part(
    plan: GroupPlan, scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph, readings: Readings
) -> MeshExport:
    """Export one object of a plan, with the UV map and the tiles of its sets."""
    uid = scene_object.session_uid
    mine = [item for item in plan.sets if uid in item.uv_maps]
    tiled = {slot.slot_index for item in mine if item.tile for slot in item.slots if slot.object_uid == uid}
    return export_mesh(scene_object, depsgraph, mine[0].uv_maps[uid], frozenset(tiled), readings)


def triangle_sets(plan: GroupPlan, uid: int, part: MeshExport) -> NDArray[np.int32]:
    """The set of each triangle of one object, int32 [T]; -1 if its slot has none."""
    material, tile = part.arrays["triangle_material"], part.triangle_tile
    chosen = np.full(len(material), -1, dtype=np.int32)
    for index in reversed(range(len(plan.sets))):
        map_set = plan.sets[index]
        slots = [slot.slot_index for slot in map_set.slots if slot.object_uid == uid]
        # A triangle without area may lie in a tile without a set: it gets the first of its slot's sets.
        known = [item.tile for item in plan.sets if item.slots == map_set.slots and item.tile != map_set.tile]
        chosen[np.isin(material, slots) & ~np.isin(tile, known)] = index
    return chosen
