# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted maps as a material of the file: new datablocks only; the original material stays, with a fake user."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import bpy

from .node_layout import build_material_nodes, build_world_nodes

RECORD = "pbrfit"
ORIGINAL = "pbrfit_original_{slot}"


@dataclass(frozen=True)
class Assignment:
    """What was made: names of the new material, of the originals by slot ("": none), of the new world ("": none)."""

    material: str
    originals: dict[int, str]
    world: str


def image_from_bytes(name: str, file_name: str, data: bytes, colour_space: str) -> bpy.types.Image:
    """A new packed image from the bytes of an image file, shown in `colour_space`; its file would be `file_name`."""
    image = bpy.data.images.new(name, 1, 1)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    image.filepath_raw = f"//textures/{file_name}"
    # After the data: a colour space set before would be forgotten when the file's type is found.
    image.colorspace_settings.name = colour_space
    return image


def create_images(owner: str, files: dict[str, bytes]) -> dict[str, bpy.types.Image]:
    """The maps among `files` as images, keyed kd, orm, normal."""
    wanted = {"kd": ("Base Color", "sRGB"), "orm": ("ORM", "Non-Color"), "normal": ("Normal", "Non-Color")}
    return {
        key: image_from_bytes(f"{owner} {label}", f"{owner}_{key}.png", files[f"{key}.png"], space)
        for key, (label, space) in wanted.items()
        if f"{key}.png" in files
    }


def assign(
    scene_object: bpy.types.Object,
    used_slots: Iterable[int],
    uv_map: str,
    files: dict[str, bytes],
    record: dict,
    alpha: bool,
) -> Assignment:
    """Create the material "<Object> PBRfit" from the result files and put it into the used slots.

    used_slots: indices of material slots; uv_map: the UV map the maps were fitted in; files: kd.png, and where fitted
    orm.png and normal.png; record: JSON values kept with the material; alpha: connect the base colour map's alpha.
    Slots of a mesh that other objects use too are linked to the object, so the others keep their look.
    """
    name = f"{scene_object.name} PBRfit"
    material = bpy.data.materials.new(name)
    build_material_nodes(material, create_images(name, files), uv_map, alpha)
    shared_mesh = scene_object.data.users > 1
    originals: dict[int, str] = {}
    links: dict[str, str] = {}
    kept: list[int] = []
    for index in used_slots:
        slot = scene_object.material_slots[index]
        original = slot.material
        originals[index] = original.name if original is not None else ""
        links[str(index)] = slot.link
        if original is not None:
            if not original.use_fake_user and original.library is None:
                original.use_fake_user = True
                kept.append(index)
            material[ORIGINAL.format(slot=index)] = original
        if shared_mesh and slot.link == "DATA":
            slot.link = "OBJECT"
        slot.material = material
    record = {
        **record,
        "object": scene_object.name,
        "original_materials": {str(index): original for index, original in originals.items()},
        "original_links": links,
        "fake_users_added": kept,
    }
    material[RECORD] = json.dumps(record)
    return Assignment(material.name, originals, "")


def assign_world(scene: bpy.types.Scene, owner: str, environment: bytes) -> str:
    """Give the scene a new world that shows the learned environment (bytes of an EXR); returns its name.

    The old world stays, with a fake user.
    """
    world = bpy.data.worlds.new(f"{owner} PBRfit")
    image = image_from_bytes(f"{owner} PBRfit Environment", f"{owner}_environment.exr", environment, "Linear Rec.709")
    build_world_nodes(world, image)
    if scene.world is not None and scene.world.library is None:
        scene.world.use_fake_user = True
    scene.world = world
    return world.name


def fitted_material(scene_object: bpy.types.Object) -> bpy.types.Material | None:
    """The first material of the object that PBRfit made, or None."""
    for slot in scene_object.material_slots:
        if slot.material is not None and RECORD in slot.material:
            return slot.material
    return None


def revert(scene_object: bpy.types.Object) -> str:
    """Put the originals back into the slots that hold a fitted material; returns the fitted material's name.

    The fitted material stays in the file until it is saved and loaded, as any material without users. A fake user that
    the assignment added is taken away again where the original is in use. The object must have a fitted material.
    """
    fitted = fitted_material(scene_object)
    record = json.loads(fitted[RECORD])
    for index, slot in enumerate(scene_object.material_slots):
        if slot.material is not fitted or str(index) not in record["original_materials"]:
            continue
        original = fitted.get(ORIGINAL.format(slot=index))
        link = record["original_links"][str(index)]
        if slot.link != link:
            slot.material = None
            slot.link = link
        slot.material = original
        if original is not None and index in record["fake_users_added"]:
            original.use_fake_user = False
    return fitted.name
