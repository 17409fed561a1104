# SPDX-License-Identifier: GPL-3.0-or-later
"""Check where faces that look different share a place in one set of maps."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np
from numpy.typing import NDArray

from ..export.plan import PER_MATERIAL, GroupPlan, MapSet
from ..export.uv_layout import BORDER, Overlap, find_overlap
from .copies import is_copied, reads_only
from .finding import WARNING, Finding
from .mesh import Layout

COPYING_MODIFIERS = {"MIRROR", "ARRAY", "SCREW", "SOLIDIFY", "NODES"}


def layout_findings(plan: GroupPlan, layouts: dict[int, Layout], scope: str) -> Iterator[Finding]:
    """Where faces share a place in one of the plan's sets of maps; `layouts` by object number."""
    for map_set in plan.sets:
        yield from set_findings(map_set, layouts, scope)


def set_findings(map_set: MapSet, layouts: dict[int, Layout], scope: str) -> Iterator[Finding]:
    """Whether a set's UVs lie in the unit square (or a tile), and no two faces share a place.

    Objects that share a mesh and its materials count once, since their faces share their places on purpose.
    """
    parts: list[NDArray[np.float32]] = []
    groups: list[NDArray[np.int64]] = []
    kinds: list[NDArray[np.int64]] = []
    owners: list[Layout] = []
    numbers: dict[bpy.types.Material | None, int] = {}
    for uid in map_set.uv_maps:
        layout = layouts[uid]
        if any(are_twins(owner.scene_object, layout.scene_object) for owner in owners):
            continue
        slots = [slot.slot_index for slot in map_set.slots if slot.object_uid == uid]
        mine = np.isin(layout.slots, slots)
        parts.append(layout.corners if mine.all() else layout.corners[mine])
        groups.append(np.full(len(parts[-1]), len(owners)))
        of_slot = np.zeros(max(slots, default=0) + 1, dtype=np.int64)
        for slot in slots:
            of_slot[slot] = numbers.setdefault(layout.material_of(slot), len(numbers))
        kinds.append(of_slot[layout.slots[mine]])
        owners.append(layout)
    corners = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if map_set.tile:
        squares = np.floor(corners.mean(axis=1))
        chosen = (squares == [(map_set.tile - 1001) % 10, (map_set.tile - 1001) // 10]).all(axis=1)
        corners, groups, kinds = corners[chosen], [np.concatenate(groups)[chosen]], [np.concatenate(kinds)[chosen]]
    elif corners.min() < -BORDER or corners.max() > 1.0 + BORDER:
        names = ", ".join(f'"{owner.scene_object.name}"' for owner in owners)
        cause = f"The UV map of {names} reaches outside the square from 0 to 1."
        cure = "The maps repeat there, so faces may share pixels. Unwrap if you do not want that."
        yield Finding(WARNING, cause, cure, "pbrfit.unwrap", one_name([owner.scene_object for owner in owners]))
    overlap = find_overlap(corners, np.concatenate(groups), np.concatenate(kinds))
    if overlap is None:
        return
    involved = [owners[group] for group in overlap.groups]
    if overlap.mixed or not look_alike(map_set, involved):
        shown = [owner.scene_object for owner in involved]
        yield overlap_finding(map_set, overlap, shown, scope)


def are_twins(first: bpy.types.Object, second: bpy.types.Object) -> bool:
    """Whether two objects share a mesh, and have the same materials in their slots."""
    materials = [[slot.material for slot in item.material_slots] for item in (first, second)]
    return bool(first.data == second.data and materials[0] == materials[1])


def look_alike(map_set: MapSet, involved: list[Layout]) -> bool:
    """Whether faces of these objects that share a place and a material look the same there."""
    for layout in involved:
        uid = layout.scene_object.session_uid
        uv_map = map_set.uv_maps[uid]
        slots = {slot.slot_index for slot in map_set.slots if slot.object_uid == uid}
        if all(reads_only(layout.material_of(slot), uv_map, layout.default_uv_map) for slot in slots):
            continue
        if len(involved) > 1 or not is_copied(layout.scene_object, uv_map, slots):
            return False
    return True


def overlap_finding(map_set: MapSet, overlap: Overlap, owners: list[bpy.types.Object], scope: str) -> Finding:
    """The finding that faces of these objects share a part of a set's maps, though they look different."""
    names = " and ".join(f'"{owner.name}"' for owner in owners)
    tile = f" (tile {map_set.tile})" if map_set.tile else ""
    why = "their materials differ" if overlap.mixed else "their look depends on more than the UV map"
    cause = (
        f'Faces of {names} lie over each other in {max(overlap.share, 0.01):.0%} of the maps for "{map_set.name}"{tile}, and '
        f"{why}. A texel has one value, so these faces will look the same."
    )
    copying = next(
        (m for owner in owners for m in owner.modifiers if m.type in COPYING_MODIFIERS and m.show_viewport), None
    )
    if copying is not None:
        cure = f'If they should differ, apply the modifier "{copying.name}", then unwrap.'
        return Finding(WARNING, cause, cure)
    if overlap.mixed:
        cure = "Pack the UV islands of all of them side by side; the old UV map stays."
        if len(map_set.uv_maps) == 1:
            cure = (
                "Pack the UV islands side by side (the old UV map stays), or choose one set of maps for each material."
            )
        return Finding(
            WARNING, cause, cure, "pbrfit.pack_islands", "" if len(map_set.uv_maps) > 1 else one_name(owners)
        )
    cure = "Unwrap if they should differ; the old UV map stays."
    if scope != PER_MATERIAL and len(map_set.slots) > 1:
        cure = "Unwrap if they should differ (the old UV map stays), or choose one set of maps for each material."
    return Finding(WARNING, cause, cure, "pbrfit.unwrap", one_name(owners))


def one_name(owners: list[bpy.types.Object]) -> str:
    """The full name of the only object, or empty if there are several."""
    return owners[0].name_full if len(owners) == 1 else ""
