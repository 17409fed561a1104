# SPDX-License-Identifier: GPL-3.0-or-later
"""What a click fits: selected objects in groups that share materials, their sets of maps, and the arrays of a group."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..common.errors import PbrFitError
from ..common.names import RECORD
from .mesh import MeshExport, export_mesh
from .mesh_reading import MeshReading, Readings
from .uv_layout import BORDER, FIRST_TILE, polygon_boxes, polygon_tiles, tile_numbers

MOST_SETS = 256  # of one job: what the backend takes
LOOKED_AT = 64  # faces of a slot, to see whether it has one with an area in the UV map


@dataclass(frozen=True)
class ObjectUse:
    """An object of a job: its name, and the number by which it is found again when it was renamed."""

    name: str
    uid: int


@dataclass(frozen=True)
class SlotUse:
    """A material slot of an object."""

    object_uid: int
    slot_index: int


@dataclass(frozen=True)
class MapSet:
    """One set of maps. name: of the material, or of the object; slots: whose faces it covers; uv_maps: the UV map it
    is read through, by object; tile: its UDIM tile, or 0 where there are no tiles."""

    name: str
    slots: tuple[SlotUse, ...]
    uv_maps: dict[int, str]
    tile: int = 0


@dataclass(frozen=True)
class GroupPlan:
    """Objects that are fitted together, and the sets of maps that they get."""

    objects: tuple[ObjectUse, ...]
    sets: tuple[MapSet, ...]

    def rebound(self, uids: dict[int, int]) -> GroupPlan:
        """The plan for the same objects under other numbers (old to new), as after loading the file again."""
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
    """The wire arrays of a job (renderer's axes), and its world positions float32 [N, 3] in Blender's axes."""

    arrays: dict[str, np.ndarray]
    world_positions: np.ndarray


def target_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """What would be fitted: the selected meshes, the active one first; with none selected, the active object."""
    objects = context.view_layer.objects
    active = objects.active
    chosen = [item for item in objects.selected if item.type == "MESH"]
    if not chosen:
        return [active] if active is not None else []
    return sorted(chosen, key=lambda item: item != active)


def objects_of(plan: GroupPlan) -> dict[int, bpy.types.Object | None]:
    """The mesh objects of a plan by number, None for those that are gone."""
    present = {item.session_uid: item for item in bpy.data.objects if item.type == "MESH"}
    return {use.uid: present.get(use.uid) for use in plan.objects}


# Planning -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UsedSlot:
    """A slot that faces use. tiles: the UDIM tiles of its faces, or none where they do not keep to tiles."""

    scene_object: bpy.types.Object
    index: int
    material: bpy.types.Material | None
    tiles: frozenset[int]


def used_slots(scene_object: bpy.types.Object, readings: Readings) -> list[UsedSlot]:
    """The slots that faces of the evaluated object use, ascending. Raises PbrFitError where its UV map is missing."""
    layer = scene_object.data.uv_layers.active
    reading = readings.of(scene_object, layer.name) if layer is not None else None
    if reading is None or reading.uv is None:
        raise PbrFitError(f'"{scene_object.name}" has no UV map.', "Unwrap it: UV > Smart UV Project.")
    slots = scene_object.material_slots
    indices = np.clip(reading.slots, 0, max(1, len(slots)) - 1)
    tiles = slot_tiles(reading, indices)
    return [
        UsedSlot(scene_object, index, slots[index].material if len(slots) else None, tiles[index]) for index in tiles
    ]


def slot_tiles(reading: MeshReading, indices: np.ndarray) -> dict[int, frozenset[int]]:
    """The UDIM tiles of the faces of each slot, ascending; none where they do not keep to tiles. indices: int32 [P]."""
    uv, starts = reading.uv, reading.loop_starts
    present = [int(index) for index in np.flatnonzero(np.bincount(indices))]
    of_slot = {index: indices == index for index in present}
    # In the first square every face with an area is in the first tile, and those without make no tile beside it.
    if uv.size and uv.min() >= 0.0 and uv.max() <= 1.0 and all(has_wide(reading, of_slot[index]) for index in present):
        return dict.fromkeys(present, frozenset({FIRST_TILE}))
    lowest, highest = polygon_boxes(uv, starts)
    squares, within = polygon_tiles(lowest, highest)
    numbers = np.where(within, tile_numbers(squares), 0)
    wide = (highest - lowest).min(axis=1) > BORDER
    found = {}
    for index, mine in of_slot.items():
        # A face without area that lies on the border of a tile makes no tile.
        counted = mine & (wide | ~wide[mine].any())
        tiles = frozenset(int(number) for number in np.unique(numbers[counted]))
        found[index] = frozenset() if 0 in tiles else tiles
    return found


def has_wide(reading: MeshReading, chosen: np.ndarray) -> bool:
    """Whether one of the first of the chosen polygons, bool [P], has an extent in both directions of the UV map."""
    for polygon in np.flatnonzero(chosen)[:LOOKED_AT]:
        start = reading.loop_starts[polygon]
        corners = reading.uv[start : start + reading.totals[polygon]]
        if (corners.max(axis=0) - corners.min(axis=0)).min() > BORDER:
            return True
    return False


def plan_groups(context: bpy.types.Context, readings: Readings | None = None) -> list[GroupPlan]:
    """The jobs that fitting the targets of `context` takes, by the setting `map_sets` of the scene; changes nothing.

    "SLOT": one set of maps for each material, and objects that share a material form one job; faces without a material
    get no set, block light and stay as they are. "OBJECT": one job and one set for each object, all its faces included.
    Where the faces of a set lie in several whole UDIM tiles and `use_udim` is on, each tile has a set of its own.
    readings: what was read already. Raises PbrFitError where an object has no UV map, no faces with a material, or a job
    has too many sets.
    """
    settings = context.scene.pbrfit
    readings = readings or Readings(context.evaluated_depsgraph_get())
    per_object = settings.map_sets == "OBJECT"
    jobs: list[list[UsedSlot]] = []
    for scene_object in target_objects(context):
        slots = used_slots(scene_object, readings)
        if all(slot.material is None for slot in slots):
            raise PbrFitError(
                f'No face of "{scene_object.name}" has a material, so there is no look to fit.',
                "Give it the material to fit, or deselect the object.",
            )
        if not per_object:
            slots = [slot for slot in slots if slot.material is not None]
        jobs = joined(jobs, slots, per_object)
    return [group_plan(job, per_object, settings.use_udim) for job in jobs]


def joined(jobs: list[list[UsedSlot]], slots: list[UsedSlot], per_object: bool) -> list[list[UsedSlot]]:
    """The jobs with the slots of one more object: added to those that use one of its materials, or as a new one."""
    materials = {slot.material for slot in slots}
    mine, others, place = [], [], None
    for job in jobs:
        if not per_object and materials & {slot.material for slot in job}:
            place = len(others) if place is None else place
            mine += job
        else:
            others.append(job)
    others.insert(len(others) if place is None else place, mine + slots)
    return others


def group_plan(slots: list[UsedSlot], per_object: bool, use_udim: bool) -> GroupPlan:
    """The plan of one job. Raises PbrFitError where it has more than 256 sets."""
    groups: dict[object, list[UsedSlot]] = {}
    for slot in slots:
        groups.setdefault(slot.scene_object if per_object else slot.material, []).append(slot)
    sets = []
    for owner, group in groups.items():
        uses = tuple(SlotUse(slot.scene_object.session_uid, slot.index) for slot in group)
        uv_maps = {slot.scene_object.session_uid: slot.scene_object.data.uv_layers.active.name for slot in group}
        tiles = tiles_of(group) if use_udim else (0,)
        sets += [MapSet(set_name(owner), uses, uv_maps, tile) for tile in tiles]
    if len(sets) > MOST_SETS:
        raise PbrFitError(
            f"The selection needs {len(sets)} sets of maps at one time; {MOST_SETS} are the most.",
            "Select fewer objects, or choose one set per object or no UDIM tiles in the settings.",
        )
    objects = {slot.scene_object.session_uid: slot.scene_object.name for slot in slots}
    return GroupPlan(tuple(ObjectUse(name, uid) for uid, name in objects.items()), tuple(sets))


def set_name(owner: bpy.types.Object | bpy.types.Material) -> str:
    """The name of a set: of its object or material; where a fitted material is fitted again, what it was named after."""
    if isinstance(owner, bpy.types.Material) and RECORD in owner:
        return json.loads(owner[RECORD])["set"]
    return owner.name


def tiles_of(group: Iterable[UsedSlot]) -> tuple[int, ...]:
    """The UDIM tiles of a set's slots; (0,) where their faces lie in the first tile or do not keep to tiles."""
    if not all(slot.tiles for slot in group):
        return (0,)
    tiles = sorted(frozenset().union(*(slot.tiles for slot in group)))
    return (0,) if tiles == [FIRST_TILE] else tuple(tiles)


# Exporting ----------------------------------------------------------------------------------------------------------


def export_group(
    plan: GroupPlan, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph, readings: Readings | None = None
) -> GroupExport:
    """The objects of a plan as one mesh in world space, as `depsgraph` (that of `context`) evaluates them.

    Arrays are those of `export_mesh`; materials are numbered over all slots of all objects. Where there are several
    sets, or faces without one, `triangle_set` int32 [T] names the set of each triangle, -1: none. UVs of a UDIM tile are
    moved to the first. readings: what was read of `depsgraph` already. Raises PbrFitError where an object is gone or
    cannot be exported.
    """
    readings = readings or Readings(depsgraph)
    parts: list[MeshExport] = []
    sets: list[np.ndarray] = []
    vertices = materials = 0
    objects = objects_of(plan)
    for use in plan.objects:
        scene_object = objects[use.uid]
        if scene_object is None or scene_object.name not in context.view_layer.objects:
            raise PbrFitError(f'The object "{use.name}" is gone.', "Select what shall be fitted, and start again.")
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


def joined_rows(arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays one after the other; a single one as it is."""
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def export_part(
    plan: GroupPlan, scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph, readings: Readings
) -> MeshExport:
    """One object of a plan, with the UV map and the tiles that its sets have."""
    uid = scene_object.session_uid
    mine = [item for item in plan.sets if uid in item.uv_maps]
    tiled = {slot.slot_index for item in mine if item.tile for slot in item.slots if slot.object_uid == uid}
    return export_mesh(scene_object, depsgraph, mine[0].uv_maps[uid], frozenset(tiled), readings)


def triangle_sets(plan: GroupPlan, uid: int, part: MeshExport) -> np.ndarray:
    """The set of each triangle of one object, int32 [T]; -1 where its slot has none."""
    material, tile = part.arrays["triangle_material"], part.triangle_tile
    chosen = np.full(len(material), -1, dtype=np.int32)
    for index in reversed(range(len(plan.sets))):
        map_set = plan.sets[index]
        slots = [slot.slot_index for slot in map_set.slots if slot.object_uid == uid]
        # A triangle without area, in a tile that its slot has no other faces in, goes to the first of its slot's sets.
        known = [item.tile for item in plan.sets if item.slots == map_set.slots and item.tile != map_set.tile]
        chosen[np.isin(material, slots) & ~np.isin(tile, known)] = index
    return chosen
