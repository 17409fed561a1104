# SPDX-License-Identifier: GPL-3.0-or-later
"""What is baked together: the sets of maps with the same slots, their materials, and where their faces lie in the UV map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ..closures.reading import Reading, Unreadable, read_material
from ..common.errors import PbrFitError
from ..export.mesh_reading import Readings
from ..export.plan import GroupPlan, MapSet, SlotUse
from ..export.uv_layout import BORDER, polygon_boxes, tile_numbers
from ..references import exported_mesh
from ..references.stage import Stage
from .cycles_bake import Canvas

MOST_SQUARES = 16
Squares = dict[SlotUse, tuple[int, ...]]
"""The unit squares of the UV map in which faces of a slot lie, as UDIM numbers; 0: one that has none."""


@dataclass(frozen=True)
class MaterialSets:
    """The sets of maps with the same slots: one, or one for each UDIM tile. numbers: of the sets, by tile; readings: of the
    materials in its slots."""

    slots: tuple[SlotUse, ...]
    canvas: Canvas
    numbers: dict[int, int]
    readings: dict[bpy.types.Material, Reading]


def checked_squares(set_up: Stage, group: GroupPlan) -> Squares:
    """Where the faces of each slot lie in the UV map, in renders.

    Raises PbrFitError if a face shows another material in renders than its slot has: the bake would not be of that.
    """
    errors: list[PbrFitError] = []
    found: Squares = {}

    def look(depsgraph: bpy.types.Depsgraph) -> None:
        readings = Readings(depsgraph)
        try:
            for target in set_up.targets:
                exported_mesh.check_materials(target, readings)
                uv_map = next(
                    item.uv_maps[target.session_uid] for item in group.sets if target.session_uid in item.uv_maps
                )
                found.update(squares_of(target, readings, uv_map))
        except PbrFitError as error:
            errors.append(error)

    exported_mesh.in_render_depsgraph(set_up, look)
    if errors:
        raise errors[0]
    return found


def squares_of(target: bpy.types.Object, readings: Readings, uv_map: str) -> Iterator[tuple[SlotUse, tuple[int, ...]]]:
    """The unit squares of the UV map that the faces of each slot touch."""
    reading = readings.of(target, uv_map)
    if reading.uv is None:
        return
    lowest, highest = polygon_boxes(reading.uv, reading.loop_starts)
    slots = reading.slots_within(len(target.material_slots))
    first = np.floor(lowest + BORDER).astype(np.int64)
    last = np.maximum(first, np.ceil(highest - BORDER).astype(np.int64) - 1)
    for slot in np.unique(slots):
        corners = np.unique(np.concatenate([first, last], axis=1)[slots == slot], axis=0)
        touched = {(0, 0)} if not len(corners) else set()
        for left, low, right, high in corners[: MOST_SQUARES * MOST_SQUARES]:
            across, up = range(left, min(right, left + MOST_SQUARES) + 1), range(low, min(high, low + MOST_SQUARES) + 1)
            touched |= {(u, v) for u in across for v in up}
        numbers = tile_numbers(np.array(sorted(touched), np.int32))
        yield SlotUse(target.session_uid, int(slot)), tuple(sorted({int(number) for number in numbers}))


def canvas_for(slots: tuple[SlotUse, ...], map_set: MapSet, tiles: tuple[int, ...], squares: Squares) -> Canvas:
    """Where a set is baked: into its UDIM tiles, or into all squares that its faces touch, which show the same map.

    Raises PbrFitError if Blender cannot bake there.
    """
    if tiles != (0,):
        return Canvas(map_set.uv_maps, tiles)
    touched = tuple(sorted({number for use in slots for number in squares.get(use, ())}))
    if touched in {(), (1001,)}:
        return Canvas(map_set.uv_maps, tiles)
    if 0 in touched or len(touched) > MOST_SQUARES:
        raise PbrFitError(
            f'Faces of "{map_set.name}" lie too far outside of the square of the UV map to be baked.',
            "Move them into it in the UV Editor, or fit the material instead: Optimize Materials.",
        )
    return Canvas(map_set.uv_maps, touched, folded=True)


def material_sets(set_up: Stage, group: GroupPlan, squares: Squares) -> list[MaterialSets]:
    """The sets of a group by their slots. Raises PbrFitError if a material cannot be read."""
    targets = {target.session_uid: target for target in set_up.targets}
    by_slots: dict[tuple[SlotUse, ...], list[tuple[int, MapSet]]] = {}
    for index, item in enumerate(group.sets):
        by_slots.setdefault(item.slots, []).append((index, item))
    found = []
    for slots, items in by_slots.items():
        materials = [targets[use.object_uid].material_slots[use.slot_index].material for use in slots]
        readings = {material: readable(material) for material in materials if material is not None}
        if not readings:
            raise PbrFitError(f'The slot of "{items[0][1].name}" has no material.', "Give it a material.")
        numbers = {item.tile: index for index, item in items}
        canvas = canvas_for(slots, items[0][1], tuple(numbers), squares)
        found.append(MaterialSets(slots, canvas, numbers, readings))
    return found


def readable(material: bpy.types.Material) -> Reading:
    """How a material becomes one Principled BSDF. Raises PbrFitError if it cannot."""
    reading = read_material(material)
    if isinstance(reading, Unreadable):
        raise PbrFitError(
            f'"{material.name}" cannot be baked: {reading.reason}.', "Fit it instead: Optimize Materials."
        )
    return reading
