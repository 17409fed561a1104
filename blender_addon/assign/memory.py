# SPDX-License-Identifier: GPL-3.0-or-later
"""What was there before a fit, remembered on the object and the scene, so that it can be shown again or restored.

Each slot has a stack, since a fitted material can be fitted again. The memory does not store which material is shown:
the slot tells that, so undo cannot make it wrong. The memory is made of plain custom properties, which Blender saves
with the file, and which count as users of the materials that they refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import bpy

from ..common.geometry_output import is_geometry_group
from ..common.gltf_output import is_output_group
from ..common.names import RECORD
from ..common.node_trees import images_of

MEMORY = "pbrfit_fits"
OVERRIDES = "pbrfit_fits_of_overrides"  # on a scene
WORLD = "world"


@dataclass(frozen=True)
class Remembered:
    """The last fit of a slot: the slot as it is now, and its entry: original, fitted, link, hidden, kept, fit."""

    slot: bpy.types.MaterialSlot
    key: str
    entry: Any

    @property
    def shows_fitted(self) -> bool:
        """Whether the slot holds the fitted material (or else what was there before)."""
        return bool(self.slot.material == self.entry.get("fitted"))


# The stacks ---------------------------------------------------------------------------------------------------------


def push(owner: bpy.types.ID, key: str, entry: dict[str, Any]) -> None:
    """Put an entry on the stack `key` of an object or scene; values that are None are left out."""
    stacks = stacks_of(owner)
    if stacks is None:
        stacks = new_stacks(owner)
    if key not in stacks:
        stacks[key] = {}
    stack = stacks[key]
    stack[str(len(stack) + 1)] = {name: value for name, value in entry.items() if value is not None}


def top(owner: bpy.types.ID, key: str) -> Any | None:
    """The last entry of the stack `key`, or None."""
    stack = (stacks_of(owner) or {}).get(key)
    return stack[str(len(stack))] if stack else None


def drop(owner: bpy.types.ID, key: str) -> None:
    """Remove the last entry of the stack `key`, and the stack if it is empty then."""
    stacks = stacks_of(owner)
    if stacks is None:
        return
    stack = stacks[key]
    del stack[str(len(stack))]
    if not len(stack):
        del stacks[key]
    if len(stacks):
        return
    if not is_override(owner):
        del owner[MEMORY]
        return
    for scene in bpy.data.scenes:
        for name, kept in list(scene.get(OVERRIDES, {}).items()):
            if kept.get("object") == owner:
                del scene[OVERRIDES][name]
                if not len(scene[OVERRIDES]):
                    del scene[OVERRIDES]


def stacks_of(owner: bpy.types.ID) -> Any | None:
    """The stacks of an object or scene by key, or None."""
    if not is_override(owner):
        return owner.get(MEMORY)
    return next((kept["stacks"] for kept in kept_for_overrides() if kept.get("object") == owner), None)


def new_stacks(owner: bpy.types.ID) -> Any:
    """Stacks for an object or scene that has none."""
    if not is_override(owner):
        owner[MEMORY] = {}
        return owner[MEMORY]
    scene = next((item for item in owner.users_scene if item.library is None), bpy.context.scene)
    if OVERRIDES not in scene:
        scene[OVERRIDES] = {}
    name = str(max((int(number) for number in scene[OVERRIDES]), default=0) + 1)
    scene[OVERRIDES][name] = {"object": owner, "stacks": {}}
    return scene[OVERRIDES][name]["stacks"]


def is_override(owner: bpy.types.ID) -> bool:
    """Whether a datablock is a library override: Blender does not save a property that this file adds to one."""
    return owner.override_library is not None


def kept_for_overrides() -> Iterator[Any]:
    """What scenes keep for overridden objects: "object" and "stacks"."""
    for scene in bpy.data.scenes:
        yield from scene.get(OVERRIDES, {}).values()


# Slots --------------------------------------------------------------------------------------------------------------


def remembered(scene_object: bpy.types.Object) -> Iterator[Remembered]:
    """The slots of an object that hold a fitted material, or what was there before it.

    If slots were moved, the one that holds the fitted material counts. Slots to which the artist has since given another
    material are left out.
    """
    slots = list(scene_object.material_slots)
    for key in sorted((stacks_of(scene_object) or {}).keys()):
        entry = top(scene_object, key)
        if entry is None:
            continue
        known = {entry.get("original"), entry.get("fitted")}
        index = int(key)
        if index < len(slots) and slots[index].material in known:
            yield Remembered(slots[index], key, entry)
            continue
        slot = next(
            (item for item in slots if item.material is not None and item.material == entry.get("fitted")), None
        )
        if slot is not None:
            yield Remembered(slot, key, entry)


def put_fitted(
    scene_object: bpy.types.Object, slot_index: int, fitted: bpy.types.Material, fit: str
) -> list[bpy.types.Material]:
    """Put a fitted material into a slot and remember what was there; returns the fitted materials that this replaces.

    The original gets a fake user if it has none. If other objects use the mesh too, or it is linked from another file, the
    slot is linked to the object, so that the others keep their look.
    """
    slot, key = scene_object.material_slots[slot_index], str(slot_index)
    original, link, hidden = slot.material, slot.link, None
    kept = keep(original)
    superseded: list[bpy.types.Material | None] = []
    while (last := top(scene_object, key)) is not None and original != last.get("fitted"):
        superseded.append(last.get("fitted"))
        drop(scene_object, key)
    mesh = scene_object.data
    if link == "DATA" and (shared(mesh) or not mesh.is_editable or is_override(mesh)):
        slot.link = "OBJECT"
        hidden = slot.material
    entry = {"original": original, "fitted": fitted, "link": link, "hidden": hidden, "kept": int(kept), "fit": fit}
    push(scene_object, key, {**entry, "own_link": int(slot.link != link)})
    slot.material = fitted
    return [material for material in superseded if material is not None]


def keep(owner: bpy.types.ID | None) -> bool:
    """Give a datablock of this file a fake user; returns whether it has one because of this fit or a remembered one."""
    if owner is None or owner.library is not None:
        return False
    if not owner.use_fake_user:
        owner.use_fake_user = True
        return True
    return any(entry.get("original") == owner and entry.get("kept") for entry in all_entries())


def shared(mesh: bpy.types.Mesh) -> bool:
    """Whether more than one object uses the mesh."""
    return bool(mesh.users - int(mesh.use_fake_user) > 1)


def all_entries() -> Iterator[Any]:
    """Every entry in the file."""
    owners = [owner.get(MEMORY, {}) for owner in (*bpy.data.objects, *bpy.data.scenes)]
    for stacks in (*owners, *(kept["stacks"] for kept in kept_for_overrides())):
        for stack in stacks.values():
            yield from stack.values()


def show_fitted(slot: bpy.types.MaterialSlot, entry: Any) -> None:
    """Put the fitted material into its slot."""
    if entry["own_link"]:
        slot.link = "OBJECT"
    slot.material = entry.get("fitted")


def show_original(slot: bpy.types.MaterialSlot, entry: Any) -> None:
    """Put what was there before the fit into its slot, linked as it was."""
    if slot.link != entry["link"]:
        slot.material = entry.get("hidden")
        slot.link = entry["link"]  # the mesh's own slot still holds the original
    else:
        slot.material = entry.get("original")


# What the artist does -----------------------------------------------------------------------------------------------


def shown(scene_objects: Iterable[bpy.types.Object]) -> str:
    """What the objects show: "FITTED" if any fitted material is shown, else "ORIGINAL", or "" if none was fitted."""
    found = [item.shows_fitted for scene_object in scene_objects for item in remembered(scene_object)]
    return ("FITTED" if any(found) else "ORIGINAL") if found else ""


def show(scene: bpy.types.Scene, scene_objects: Iterable[bpy.types.Object], fitted: bool) -> None:
    """Make all slots of the objects show their fitted materials, or what was there before; and the world with them."""
    fits: set[str] = set()
    for scene_object in scene_objects:
        for item in list(remembered(scene_object)):
            fits.add(item.entry["fit"])
            if item.shows_fitted != fitted:
                (show_fitted if fitted else show_original)(item.slot, item.entry)
    light = top(scene, WORLD)
    if light is not None and light["fit"] in fits and scene.world in {light.get("original"), light.get("fitted")}:
        scene.world = light.get("fitted" if fitted else "original")


def learned_world(scene: bpy.types.Scene, scene_objects: Iterable[bpy.types.Object]) -> bpy.types.World | None:
    """The world that the last fit of one of the objects made for the scene, or None."""
    light = top(scene, WORLD)
    fits = {item.entry["fit"] for scene_object in scene_objects for item in remembered(scene_object)}
    return light.get("fitted") if light is not None and light["fit"] in fits else None


def revert(scene: bpy.types.Scene, scene_objects: Iterable[bpy.types.Object]) -> list[str]:
    """Restore what the objects had before their last fit; returns the names of the materials that were removed from them.

    Materials, images and worlds that the fit made are removed if nothing else uses them, and fake users that it added if
    no other fit needs them. Written files stay.
    """
    taken: dict[str, bpy.types.Material] = {}
    fits: set[str] = set()
    released: list[bpy.types.ID | None] = []
    for scene_object in scene_objects:
        for item in list(remembered(scene_object)):
            if item.shows_fitted:
                show_original(item.slot, item.entry)
            fits.add(item.entry["fit"])
            if item.entry.get("fitted") is not None:
                taken[item.entry["fitted"].name] = item.entry["fitted"]
            if item.entry["kept"]:
                released.append(item.entry.get("original"))
            drop(scene_object, item.key)
    worlds: list[bpy.types.World | None] = []
    light = top(scene, WORLD)
    if light is not None and light["fit"] in fits:
        if scene.world == light.get("fitted"):
            scene.world = light.get("original")
        worlds.append(light.get("fitted"))
        if light["kept"]:
            released.append(light.get("original"))
        drop(scene, WORLD)
    names = list(taken)
    release(released)
    remove_unused([*taken.values(), *worlds])
    return names


def put_world(scene: bpy.types.Scene, world: bpy.types.World, fit: str) -> None:
    """Give the scene a world and remember the old one, which gets a fake user if it has none."""
    original = scene.world
    kept = keep(original)
    last = top(scene, WORLD)
    if last is not None and original != last.get("fitted"):
        drop(scene, WORLD)
    push(scene, WORLD, {"original": original, "fitted": world, "kept": int(kept), "fit": fit})
    scene.world = world


def release(owners: Iterable[bpy.types.ID | None]) -> None:
    """Remove fake users that fits added, except from what another remembered fit still keeps."""
    needed = {entry.get("original") for entry in all_entries() if entry.get("kept")}
    for owner in owners:
        if owner is not None and owner not in needed:
            owner.use_fake_user = False


def remove_unused(owners: Iterable[bpy.types.Material | bpy.types.World | None]) -> None:
    """Remove fitted materials and worlds that nothing uses, and the images and the groups that only they used."""
    unused = [owner for owner in owners if owner is not None and owner.users == 0 and RECORD in owner]
    images = {image for owner in unused for image in images_of(owner.node_tree) if RECORD in image}
    bpy.data.batch_remove(unused)
    groups = [
        group
        for group in bpy.data.node_groups
        if RECORD in group and (is_output_group(group) or is_geometry_group(group))
    ]
    bpy.data.batch_remove([item for item in (*images, *groups) if item.users == 0])
