# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan of bake_maps.py in this Blender."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from ..closures.parameters import CORE, NORMALS
from ..closures.reading import Reading
from ..closures.verdict import VIEW, verdict_of
from ..common.errors import PbrFitError
from ..common.reached_nodes import reached_through, unchanged_trees
from ..export import plan_json
from ..protocol.map_shape import map_size
from ..references import stage
from ..references.plan_work import no_room, open_file
from .cycles_bake import make_editable, prepare
from .fields import Baked, inputs_of, without_far_texels
from .geometry import bake_geometry
from .maps import MapWriter
from .material_sets import MaterialSets, checked_squares, material_sets
from .openness import bake_openness, extent_of
from .pass_baker import PassBaker
from .quantities import Pass, passes_for
from .shifted_uv import with_positive_uv_maps
from .start import write_start
from .start_maps import write_start_maps
from .surety import share_passes

Json = dict[str, Any]
KEPT_SETTINGS = (
    "use_backface_culling",
    "use_transparent_shadow",
    "surface_render_method",
    "pass_index",
)
BUMPS = {"ShaderNodeBump", "ShaderNodeNormalMap"}
SET_UP = 0.1  # of the progress bar


def bake_plan(plan: Json, report: Callable[[Json], None]) -> None:
    """Do what one plan asks for; call `report` with lines.

    Raises PbrFitError if the file lacks what the plan names, a material cannot be read, or a file cannot be written.
    """
    output = Path(plan["output"])
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PbrFitError(f"Cannot write to {output}: {error.strerror}.", "Choose another folder.") from error
    if plan.get("start_maps"):
        report({"progress": 0.0, "message": "Reading the maps"})
        report({"baked": write_start_maps(plan, output)})
        return
    report({"progress": 0.0, "message": "Reading the materials"})
    open_file(plan)
    names = [(name, library) for name, library in plan["objects"]]
    if "scene" in plan:
        scene, layer = stage.find_scene(plan["scene"], plan["view_layer"])
    else:
        scene, layer = stage.scene_of(names, plan.get("frame", 1))
    set_up = stage.set_up(scene, layer, names, samples=1, threads=plan.get("threads", 0))
    stage.put_materials(set_up.targets, plan.get("materials", []))
    make_editable(set_up)
    group = plan_json.from_json(plan["group"], [target.session_uid for target in set_up.targets])
    group = with_positive_uv_maps(set_up, group)
    squares = checked_squares(set_up, group)
    rendered_uv_maps = prepare(set_up, {uid: name for item in group.sets for uid, name in item.uv_maps.items()})
    with unchanged_trees():  # those of the file: only copies change
        owners = material_sets(set_up, group, squares)
        if plan.get("start"):
            owners = [replace(owner, readings=judged(owner.readings)) for owner in owners]
        baked = [Baked() for _ in owners]
        size = map_size(plan["resolution"])
        baker = PassBaker(set_up, owners, rendered_uv_maps, size, plan["supersampling"])
        for fraction, item in bake_passes(plan, owners):
            report({"progress": SET_UP + (1.0 - SET_UP) * fraction, "message": item.message})
            for found, texels in zip(baked, baker.bake(item), strict=True):
                found.add(item, texels)
        if plan.get("occlusion"):
            report({"progress": 0.9, "message": "Baking Occlusion"})
            bake_openness(baker, set_up, size, baked)
        if plan.get("geometry"):
            report({"progress": 0.92, "message": f"Baking {', '.join(plan['geometry'])}"})
            bake_geometry(baker, set_up, plan["geometry"], size, baked, extent_of(set_up))
        report({"progress": 0.95, "message": "Writing the maps"})
        report({"baked": write_maps(plan, owners, baked, output)})


def judged(readings: dict[bpy.types.Material, Reading]) -> dict[bpy.types.Material, Reading]:
    """The readings of materials, which know how certain they are of what a fit changes."""
    found = {}
    for material, reading in readings.items():
        known = verdict_of(material, CORE)
        found[material] = replace(reading, certain=known.kind != VIEW and not known.lost)
    return found


def bake_passes(plan: Json, owners: list[MaterialSets]) -> Iterator[tuple[float, Pass]]:
    """The passes of a plan, each with the part of the work that lies before it, 0..1."""
    readings = [list(owner.readings.values()) for owner in owners]
    passes = passes_for(plan["target"], [reading for group in readings for reading in group], readings)
    if plan.get("start"):
        passes += share_passes(readings)
    for number, item in enumerate(passes):
        yield number / (len(passes) + 1), item


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


def write_maps(plan: Json, owners: list[MaterialSets], baked: list[Baked], output: Path) -> Json:
    """Write the maps of all sets; returns their recipes and the names of the files, and of the starts of fits.

    Raises PbrFitError if a file cannot be written.
    """
    recipes: dict[int, Json] = {}
    files: list[str] = []
    starts: dict[int, str] = {}
    count = sum(len(owner.numbers) for owner in owners)
    for owner, found in zip(owners, baked, strict=True):
        prefixes = {tile: f"{index}/" if count > 1 else "" for tile, index in owner.numbers.items()}
        writer = MapWriter(output, prefixes)
        readings = list(owner.readings.values())
        settings = settings_of(*next(iter(owner.readings.items())))
        inputs = inputs_of(plan["target"], found, readings)
        margin = plan.get("margin")
        shown = inputs if margin is None else without_far_texels(inputs, found, margin)
        recipe = writer.recipe(plan["target"], shown, found, readings, settings)
        for tile, index in owner.numbers.items() if plan.get("start") else ():
            starts[index] = f"start_{index}.npz"
            try:
                write_start(output / starts[index], inputs, found, readings, tile, map_size(plan["resolution"]))
            except OSError as error:
                raise no_room(output / starts[index], error) from error
        recipes |= dict.fromkeys(owner.numbers.values(), recipe.to_json())
        files += writer.files
    return {
        "recipes": [recipes[index] for index in range(count)],
        "files": files,
        "starts": [starts[index] for index in sorted(starts)],
    }
