# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted maps as materials of the file: new datablocks only; the original materials stay, with a fake user."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import bpy

from ..common.color_spaces import Meaning
from ..common.errors import PbrFitError
from ..common.material_recipe import MAP_LABELS, MaterialRecipe, fit_recipe
from ..common.names import DEFAULT_SCHEME, RECORD, material_name
from ..common.node_layout import build_material_nodes, build_world_nodes
from ..export.plan import GroupPlan, MapSet, SlotUse, objects_of
from ..settings.properties import learns_light, scene_values
from .color_files import colored
from .images import FILES, PACKED, ImageMaker, Key, WantedImage, file_folder
from .memory import put_fitted, put_world, remembered, remove_unused

# What the values of maps mean that hold no numbers.
COLOR_MAPS = dict.fromkeys(("kd", "emission", "coat_tint", "sheen_tint", "specular_tint"), Meaning.SRGB)
SUFFIXES = (".png", ".exr")
ENVIRONMENT = "environment.exr"


@dataclass(frozen=True)
class AssignOptions:
    """What the artist chose for the result at the time of the click.

    alpha: connect the base color's alpha; world_scene_uid: the scene that gets the learned light, or None;
    material_name: the scheme; image_storage: "PACKED" or "FILES"; scene_settings: all settings, for another fit.
    """

    alpha: bool = False
    world_scene_uid: int | None = None
    material_name: str = DEFAULT_SCHEME
    image_storage: str = PACKED
    scene_settings: dict[str, bool | int | str] = field(default_factory=dict)

    @classmethod
    def from_scene(cls, scene: bpy.types.Scene) -> AssignOptions:
        """The choices of a scene. Raises PbrFitError if the naming scheme cannot be used."""
        settings = scene.pbrfit
        material_name(settings.material_name, "Object", "Material")
        return cls(
            alpha=settings.use_alpha,
            world_scene_uid=scene.session_uid if learns_light(settings) and settings.apply_world else None,
            material_name=settings.material_name,
            image_storage=settings.image_storage,
            scene_settings=scene_values(settings),
        )


@dataclass(frozen=True)
class Assignment:
    """What was made. materials: names of the new ones, `material` is the first; originals: names by slot of the first
    object ("" if none); world: name of the new one ("" if none); notes: sentences for the artist."""

    material: str
    originals: dict[int, str]
    world: str
    materials: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewMaterial:
    """A material to make: the numbers of its sets in the plan, by UDIM tile (0: no tiles), and one of these sets."""

    name: str
    sets: dict[int, int]
    map_set: MapSet


def assignment_steps(
    plan: GroupPlan,
    files: dict[str, bytes],
    record: dict[str, Any],
    options: AssignOptions,
    recipes: tuple[MaterialRecipe, ...] | None = None,
) -> Generator[bool, None, Assignment]:
    """Create a material for each set of a plan from the result files, and put it into the slots of the set.

    files: from the result of the fit or bake; record: JSON values to keep with the materials; recipes: one for each set
    of the plan, or None for a fit's: kd, orm, normal. Yields False after each slice of
    preparation, and True once before the last slice, the only one that changes what the file shows. If it is closed
    before that, it removes what it made, even if undo or loading a file has removed a part already.
    Raises PbrFitError if the objects or slots are gone, or files cannot be written.
    """
    fit = uuid.uuid4().hex
    notes = check_targets(plan)
    materials, unseen = seen_and_unseen(new_materials(plan, options.material_name), record)
    notes += [f'No view sees a face of "{name}", so it stays as it was.' for name in unseen]
    folder = file_folder(options.image_storage)
    if options.image_storage == FILES and folder is None:
        notes.append("The .blend is not saved yet, so the maps were packed.")
    if recipes is None:
        keys = {name.rpartition("/")[2].partition(".")[0] for name in files}
        recipes = (fit_recipe(keys, options.alpha),) * len(plan.sets)
    maker = ImageMaker(wanted_images(materials, recipes, files, plan, options), folder, fit)
    try:
        for _ in maker.steps():
            yield False
        yield True
        for _ in maker.steps():  # what undo has removed since
            pass
        check_targets(plan)
        return put_in_place(plan, materials, recipes, maker, {**record, "fit": fit}, options, tuple(notes))
    except BaseException:
        maker.discard()
        raise


def new_materials(plan: GroupPlan, scheme: str) -> list[NewMaterial]:
    """The materials of a plan: one for each set, except that the UDIM tiles of a material share one."""
    found: dict[tuple[SlotUse, ...], NewMaterial] = {}
    names = {item.uid: item.name for item in plan.objects}
    for index, map_set in enumerate(plan.sets):
        if map_set.slots not in found:
            name = material_name(scheme, names[map_set.slots[0].object_uid], map_set.name)
            found[map_set.slots] = NewMaterial(name, {}, map_set)
        found[map_set.slots].sets[map_set.tile] = index
    return list(found.values())


def seen_and_unseen(materials: list[NewMaterial], record: dict[str, Any]) -> tuple[list[NewMaterial], list[str]]:
    """The materials of which any view sees a face, and the set names of the others.

    Raises PbrFitError if no view sees anything.
    """
    measured = record.get("metrics", {}).get("sets", [])
    kept = record.get("kept", [])
    baked = {index for index, which in enumerate(kept) if which == "BAKE"}
    unseen = {index for index, values in enumerate(measured) if values["samples"] == 0} - baked
    seen = [material for material in materials if not unseen.issuperset(material.sets.values())]
    if not seen:
        raise PbrFitError("No view sees anything of what was fitted.", "Check that its faces point outwards.")
    return seen, [material.map_set.name for material in materials if material not in seen]


def wanted_images(
    materials: list[NewMaterial],
    recipes: tuple[MaterialRecipe, ...],
    files: dict[str, bytes],
    plan: GroupPlan,
    options: AssignOptions,
) -> dict[Key, WantedImage]:
    """The images to make, by number of the material and map; the light is (-1, "environment")."""
    wanted: dict[Key, WantedImage] = {}
    for number, material in enumerate(materials):
        for key in recipe_of(material, recipes).keys:
            prefixes = {tile: f"{index}/" if len(plan.sets) > 1 else "" for tile, index in material.sets.items()}
            suffix = next(suffix for suffix in SUFFIXES if all(f"{p}{key}{suffix}" in files for p in prefixes.values()))
            found = {tile: files[f"{prefix}{key}{suffix}"] for tile, prefix in prefixes.items()}
            meaning = COLOR_MAPS.get(key)
            if meaning is not None and suffix == ".exr":
                meaning = Meaning.LINEAR_REC709
            space, suffix, tiles = colored(found, suffix, meaning)
            wanted[number, key] = WantedImage(f"{material.name} {MAP_LABELS[key]}", suffix, space, tiles)
    if options.world_scene_uid is not None and ENVIRONMENT in files:
        name = f"{plan.objects[0].name} PBRfit Environment"
        space, suffix, light = colored({0: files[ENVIRONMENT]}, ".exr", Meaning.LINEAR_REC709)
        wanted[-1, "environment"] = WantedImage(name, suffix, space, light)
    return wanted


def recipe_of(material: NewMaterial, recipes: tuple[MaterialRecipe, ...]) -> MaterialRecipe:
    """The recipe of a material: all its sets have the same."""
    return recipes[next(iter(material.sets.values()))]


def check_targets(plan: GroupPlan) -> list[str]:
    """Sentences about missing objects of the plan. Raises PbrFitError if none is left, or if one left lacks a slot."""
    objects = objects_of(plan)
    gone = [f'"{item.name}"' for item in plan.objects if objects[item.uid] is None]
    if len(gone) == len(plan.objects):
        what = "The object is" if len(gone) == 1 else "The objects are"
        raise PbrFitError(f"{what} gone, so the result cannot be assigned.", "Start again with what is there now.")
    for map_set in plan.sets:
        for use in map_set.slots:
            found = objects[use.object_uid]
            if found is not None and use.slot_index >= len(found.material_slots):
                cause = f'Material slots of "{found.name}" were removed while PBRfit worked.'
                raise PbrFitError(cause, "Start again with what is there now.")
    return [f"{', '.join(gone)} is gone and was left out."] if gone else []


def put_in_place(
    plan: GroupPlan,
    materials: list[NewMaterial],
    recipes: tuple[MaterialRecipe, ...],
    maker: ImageMaker,
    record: dict[str, Any],
    options: AssignOptions,
    notes: tuple[str, ...],
) -> Assignment:
    """Make the materials and the world, and show them. A set gets one material for each name of its objects' UV maps."""
    record = {**record, "scene_settings": options.scene_settings, "objects": [item.name for item in plan.objects]}
    objects = objects_of(plan)
    names: list[str] = []
    originals: dict[int, str] = {}
    superseded: list[bpy.types.Material] = []
    for number, new in enumerate(materials):
        recipe = recipe_of(new, recipes)
        images = {key: image for key in recipe.keys if (image := maker.image((number, key))) is not None}
        by_uv_map: dict[str, bpy.types.Material] = {}
        for use in new.map_set.slots:
            scene_object = objects[use.object_uid]
            if scene_object is None:
                continue
            uv_map = new.map_set.uv_maps[use.object_uid]
            if uv_map not in by_uv_map:
                by_uv_map[uv_map] = new_material(new, recipe, images, uv_map, record)
                names.append(by_uv_map[uv_map].name)
            if use.object_uid == plan.objects[0].uid:
                original = scene_object.material_slots[use.slot_index].material
                originals[use.slot_index] = original.name if original is not None else ""
            superseded += put_fitted(scene_object, use.slot_index, by_uv_map[uv_map], record["fit"])
    remove_unused(superseded)
    world = put_learned_world(plan, maker, record["fit"], options)
    return Assignment(names[0] if names else "", originals, world, tuple(names), notes)


def new_material(
    new: NewMaterial,
    recipe: MaterialRecipe,
    images: dict[str, bpy.types.Image],
    uv_map: str,
    record: dict[str, Any],
) -> bpy.types.Material:
    """A new fitted material with its record."""
    material = bpy.data.materials.new(new.name)
    build_material_nodes(material, recipe, images, uv_map)
    masks = dict(enumerate(record.get("unseen", [])))
    unseen = {str(tile): masks[index] for tile, index in new.sets.items() if masks.get(index)}
    nodes = record.get("nodes", {})
    own = {"nodes": {new.map_set.name: nodes[new.map_set.name]}} if new.map_set.name in nodes else {}
    place = {"set": new.map_set.name, "numbers": sorted(new.sets.values()), "uv_map": uv_map, "unseen": unseen}
    material[RECORD] = json.dumps({**record, **own, **place})
    return material


def put_learned_world(plan: GroupPlan, maker: ImageMaker, fit: str, options: AssignOptions) -> str:
    """Give the scene of the options a new world with the learned light, if there is any; returns its name, or ""."""
    image = maker.image((-1, "environment"))
    scene = next((item for item in bpy.data.scenes if item.session_uid == options.world_scene_uid), None)
    if image is None or scene is None:
        return ""
    world = bpy.data.worlds.new(f"{plan.objects[0].name} PBRfit")
    world[RECORD] = fit
    build_world_nodes(world, image, "Learned Environment")
    put_world(scene, world, fit)
    return str(world.name)


def fitted_materials(scene_object: bpy.types.Object) -> Iterator[bpy.types.Material]:
    """The fitted materials of an object, shown or not, each once."""
    seen: set[bpy.types.Material] = set()
    for item in remembered(scene_object):
        material = item.entry.get("fitted")
        if material is not None and material not in seen:
            seen.add(material)
            yield material
