# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan of bake_maps.py in this Blender."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from ..closures.parameters import NORMALS
from ..closures.reading import Reading
from ..common.errors import PbrFitError
from ..common.reached_nodes import reached_through, unchanged_trees
from ..export import plan_json
from ..references import stage
from ..references.plan_work import open_file
from ..references.stage import Stage
from .cycles_bake import Texels, bake, make_editable, new_image, prepare, read_tiles
from .detail import is_fine, is_random
from .fields import Baked, inputs_of
from .maps import MapWriter
from .material_sets import MaterialSets, checked_squares, material_sets
from .quantities import Pass, passes_for
from .resolved import agrees, is_smooth
from .shifted_uv import with_positive_uv_maps
from .stand_ins import placeholder, stand_in

Json = dict[str, Any]
KEPT_SETTINGS = (
    "use_backface_culling",
    "use_transparent_shadow",
    "surface_render_method",
    "pass_index",
)
BUMPS = {"ShaderNodeBump", "ShaderNodeNormalMap"}
SET_UP = 0.1  # of the progress bar
BETWEEN = 19  # of 64: the size of a bake at points that lie between the middles of the maps' texels
SAMPLES_OF_RAYS = 16  # for each texel, of nodes that send out random rays; each of them sends more than one
LARGEST_BAKE = 8192  # pixels in a row; supersampling stops there


def bake_plan(plan: Json, report: Callable[[Json], None]) -> None:
    """Do what one plan asks for; call `report` with lines.

    Raises PbrFitError if the file lacks what the plan names, a material cannot be read, or a file cannot be written.
    """
    report({"progress": 0.0, "message": "Reading the materials"})
    open_file(plan)
    output = Path(plan["output"])
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PbrFitError(f"Cannot write to {output}: {error.strerror}.", "Choose another folder.") from error
    scene, layer = stage.find_scene(plan["scene"], plan["view_layer"])
    names = [(name, library) for name, library in plan["objects"]]
    set_up = stage.set_up(scene, layer, names, samples=1, threads=plan.get("threads", 0))
    make_editable(set_up)
    group = plan_json.from_json(plan["group"], [target.session_uid for target in set_up.targets])
    group = with_positive_uv_maps(set_up, group)
    squares = checked_squares(set_up, group)
    rendered_uv_maps = prepare(set_up, {uid: name for item in group.sets for uid, name in item.uv_maps.items()})
    with unchanged_trees():  # those of the file: only copies change
        owners = material_sets(set_up, group, squares)
        baked = [Baked() for _ in owners]
        for fraction, item in bake_passes(plan, owners):
            report({"progress": SET_UP + (1.0 - SET_UP) * fraction, "message": item.message})
            for found, texels in zip(baked, bake_pass(set_up, owners, item, plan, rendered_uv_maps), strict=True):
                found.add(item, texels)
        report({"progress": 0.95, "message": "Writing the maps"})
        report({"baked": write_maps(plan["target"], owners, baked, output)})


def bake_passes(plan: Json, owners: list[MaterialSets]) -> Iterator[tuple[float, Pass]]:
    """The passes of a plan, each with the part of the work that lies before it, 0..1."""
    readings = [list(owner.readings.values()) for owner in owners]
    passes = passes_for(plan["target"], [reading for group in readings for reading in group], readings)
    for number, item in enumerate(passes):
        yield number / (len(passes) + 1), item


def bake_pass(
    set_up: Stage, owners: list[MaterialSets], item: Pass, plan: Json, rendered_uv_maps: dict[int, str]
) -> list[dict[int, Texels]]:
    """The texels of one pass, for each of the owners by tile: their middles, or means over many points where those differ."""

    every = [reading for owner in owners for reading in owner.readings.values()]
    samples = SAMPLES_OF_RAYS if any(is_random(reading, item) for reading in every) else 1

    def bake_at(size: int, factor: int) -> list[dict[int, Texels]]:
        images = [new_image(owner.canvas, size * factor) for owner in owners]
        with stand_ins_shown(set_up, owners, item, images, rendered_uv_maps):
            uv_maps = {uid: name for owner in owners for uid, name in owner.canvas.uv_maps.items()}
            bake(set_up, "NORMAL" if item.is_normal else "EMIT", uv_maps, samples)
        found = [read_tiles(image, owner.canvas, factor) for owner, image in zip(owners, images, strict=True)]
        bpy.data.batch_remove(images)
        return found

    size, factor = plan["resolution"], factor_of(plan, owners, item)
    middles = bake_at(size, 1)
    if factor == 1 or samples > 1:  # which lie all over the texel
        return middles
    if all(is_smooth(texels) for tiles in middles for texels in tiles.values()):
        between = bake_at(max(8, size * BETWEEN // 64), 1)
        pairs = [(one[tile], other[tile]) for one, other in zip(middles, between, strict=True) for tile in one]
        if all(agrees(*pair) for pair in pairs):
            return middles
    return bake_at(size, factor)


def settings_of(material: bpy.types.Material, reading: Reading) -> Json:
    """How a new material is shown in place of another, beside its nodes."""
    found = {name: getattr(material, name) for name in KEPT_SETTINGS if hasattr(material, name)}
    # Cycles darkens bumps near grazing light, but not those of displacement or of normals that other nodes compute.
    corrected = material.cycles.use_bump_map_correction and any(
        item.node.bl_idname in BUMPS
        for leaf in reading.leaves
        for name in NORMALS
        for item in reached_through(leaf.item, name)
    )
    return found | {"cycles.use_bump_map_correction": corrected or not any(map(reading.has_normal, NORMALS))}


def factor_of(plan: Json, owners: list[MaterialSets], item: Pass) -> int:
    """How many pixels in a row a pass bakes for each texel of a map."""
    size: int = plan["resolution"]
    if not any(is_fine(reading, item, size) for owner in owners for reading in owner.readings.values()):
        return 1
    return min(int(plan["supersampling"]), max(1, LARGEST_BAKE // size))


def write_maps(target: str, owners: list[MaterialSets], baked: list[Baked], output: Path) -> Json:
    """Write the maps of all sets; returns their recipes and the names of the files."""
    recipes: dict[int, Json] = {}
    files: list[str] = []
    count = sum(len(owner.numbers) for owner in owners)
    for owner, found in zip(owners, baked, strict=True):
        prefixes = {tile: f"{index}/" if count > 1 else "" for tile, index in owner.numbers.items()}
        writer = MapWriter(output, prefixes)
        readings = list(owner.readings.values())
        settings = settings_of(*next(iter(owner.readings.items())))
        recipe = writer.recipe(target, inputs_of(target, found, readings), found, readings, settings)
        recipes |= dict.fromkeys(owner.numbers.values(), recipe.to_json())
        files += writer.files
    return {"recipes": [recipes[index] for index in range(count)], "files": files}


@contextmanager
def stand_ins_shown(
    set_up: Stage,
    owners: list[MaterialSets],
    item: Pass,
    images: list[bpy.types.Image],
    uv_maps: dict[int, str],
) -> Iterator[None]:
    """With materials that show what a pass bakes, into an image for each of the owners, in place of their own.

    uv_maps: those that renders use, by object number, where another one is baked.
    """
    unused = bpy.data.images.new("PBRfit unused", 4, 4, float_buffer=True, is_data=True)
    blank = placeholder(unused)
    targets = {target.session_uid: target for target in set_up.targets}
    before = {
        (uid, index): (slot, slot.link, slot.material)
        for uid, target in targets.items()
        for index, slot in enumerate(target.material_slots)
    }
    made: dict[tuple[bpy.types.Material, int, str, str | None], bpy.types.Material] = {}
    try:
        for slot, _, _ in before.values():
            slot.link = "OBJECT"
            slot.material = blank
        for number, (owner, image) in enumerate(zip(owners, images, strict=True)):
            for use in owner.slots:
                slot, _, material = before[use.object_uid, use.slot_index]
                if material is not None:
                    names = owner.canvas.uv_maps[use.object_uid], uv_maps.get(use.object_uid)
                    key = material, number, *names
                    if key not in made:
                        made[key] = stand_in(material, owner.readings[material], item, image, *names)
                    slot.material = made[key]
        yield
    finally:
        for slot, link, material in before.values():
            slot.material = material if link == "OBJECT" else None
            slot.link = link
        bpy.data.batch_remove([blank, unused, *made.values()])
