# SPDX-License-Identifier: GPL-3.0-or-later
"""What will be fitted, in which light, and what that takes: one line each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bpy

from ..common.light_names import AUTOMATIC, BOTH, STUDIO
from ..common.node_trees import world_of
from ..common.paragraphs import draw_lines
from ..export.plan import ONE_FOR_ALL, PER_OBJECT, target_objects
from ..export.reference_light import reference_light, what_a_world_lacks
from ..preflight.verdicts import fitted_target
from ..session import past_fits, session
from ..session.estimates import Estimate, estimate, seconds_of_parts
from ..session.expected import fit_kind
from ..session.prepare import node_facts
from ..translations.translate import tr
from .bake_verdicts import needs_no_fit

MOST_OBJECTS = 2
MOST_NAMES = 3


def draw_facts(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The objects with their materials and UV maps, the light, and what it takes of the machine."""
    layer = context.view_layer
    targets = [item for item in target_objects(context) if item.type == "MESH"]
    column = layout.column(align=True)
    column.scale_y = 0.9
    for item in targets[:MOST_OBJECTS]:
        column.label(text=tr(f"{item.name}: {triangle_count(item, layer):,} triangles"), icon="OBJECT_DATA")
        if parts := slots_text(item):
            column.label(text=parts, icon="MATERIAL", translate=False)
    if len(targets) > MOST_OBJECTS:
        column.label(text=tr(f"and {len(targets) - MOST_OBJECTS} more objects"), icon="BLANK1")
    if targets:
        if shared := sets_text(context.scene.pbrfit.map_sets, targets):
            draw_lines(context, column, shared, "TEXTURE")
        draw_lines(context, column, light_text(context), "WORLD")
        if machine := machine_text(context):
            column.label(text=machine, icon="MEMORY")


def machine_text(context: bpy.types.Context) -> str:
    """What the fit of the selection takes of the machine; empty without a mesh, or where a bake says all."""
    found = estimate_for(context)
    if found is None or needs_no_fit(context):
        return ""
    return tr(found.memory_text()) + tr({True: ", on the GPU", False: ", without a GPU", None: ""}[gpu_known(context)])


def slots_text(scene_object: bpy.types.Object) -> str:
    """The materials of an object and its UV map, in one line."""
    names = [slot.material.name if slot.material is not None else tr("none") for slot in scene_object.material_slots]
    more = tr(f" and {len(names) - MOST_NAMES} more") if len(names) > MOST_NAMES else ""
    uv_map = scene_object.data.uv_layers.active
    on = tr(f" on {uv_map.name}") if uv_map is not None and names else ""
    return ", ".join(names[:MOST_NAMES]) + more + on


def sets_text(map_sets: str, targets: list[bpy.types.Object]) -> str:
    """What shares a set of maps, where there are several materials or objects; else empty."""
    materials = {slot.material for item in targets for slot in item.material_slots} - {None}
    if max(len(materials), len(targets)) < 2:
        return ""
    if map_sets == ONE_FOR_ALL:
        return (
            f"One set of maps for all {len(targets)} objects" if len(targets) > 1 else "One set of maps for all slots"
        )
    if map_sets == PER_OBJECT:
        return (
            f"One set of maps for each of {len(targets)} objects"
            if len(targets) > 1
            else "One set of maps for all slots"
        )
    return (
        f"One set of maps for each of {len(materials)} materials"
        if len(materials) > 1
        else "One set of maps for all objects"
    )


def time_text(context: bpy.types.Context) -> str:
    """How long the fit of the selection takes; empty without a mesh."""
    found = estimate_for(context)
    if found is None:
        return ""
    if needs_no_fit(context):
        return "Some seconds: a bake says all of it"
    return found.text()


def triangle_count(scene_object: bpy.types.Object, layer: bpy.types.ViewLayer) -> int:
    """The triangles of a mesh as the viewport shows it; evaluates nothing."""
    mesh = scene_object.data
    if scene_object.mode == "OBJECT" and layer.depsgraph is not None:
        evaluated = scene_object.evaluated_get(layer.depsgraph).data
        mesh = evaluated if isinstance(evaluated, bpy.types.Mesh) else mesh
    return max(0, len(mesh.loops) - 2 * len(mesh.polygons))


def estimate_for(context: bpy.types.Context) -> Estimate | None:
    """What it takes to fit the targets: the time of all fits, the memory of the largest; None without a mesh."""
    settings = context.scene.pbrfit
    targets = [item for item in target_objects(context) if item.type == "MESH"]
    if not targets:
        return None
    triangles = sum(triangle_count(item, context.view_layer) for item in targets)
    materials = {slot.material for item in targets for slot in item.material_slots} - {None}
    sets = max(1, {PER_OBJECT: len(targets), ONE_FOR_ALL: 1}.get(settings.map_sets, len(materials)))
    on_gpu = bool(gpu_known(context))
    found = estimate(settings, triangles, sets, on_gpu)
    nodes = node_facts(materials, fitted_target(settings))
    kind = fit_kind(nodes, sets, settings.device, device_known(), settings.quality)
    learned = past_fits.learned(seconds_of_parts(settings, triangles, sets, on_gpu), kind)
    found = replace(found, seconds=sum(learned.values()))
    groups = {PER_OBJECT: len(targets), ONE_FOR_ALL: 1}.get(settings.map_sets, len(grouped(targets)))
    return replace(found, seconds=found.seconds * groups)


def gpu_known(context: bpy.types.Context) -> bool | None:
    """Whether the next fit runs on a GPU, from the settings or from the last backend; None if unknown."""
    device: str = context.scene.pbrfit.device
    device = device_known() if device == "auto" else device
    return device.lower().startswith("cuda") if device else None


def device_known() -> str:
    """The device of the last backend, "cuda" or "cpu", also of an earlier session of Blender; empty while it is not known."""
    return session.backend_device() or past_fits.last_device()


def grouped(targets: list[bpy.types.Object]) -> list[set[Any]]:
    """The materials of the objects, in groups that share one. There will be about as many fits."""
    groups: list[set[Any]] = []
    for item in targets:
        mine = {slot.material for slot in item.material_slots} - {None}
        joined = [group for group in groups if group & mine]
        groups = [group for group in groups if not group & mine] + [mine.union(*joined)]
    return groups


def light_text(context: bpy.types.Context) -> str:
    """What will light the references, and why not the scene's world."""
    chosen, world = context.scene.pbrfit, world_of(context.scene, context.view_layer)
    light = reference_light(chosen.reference_light, chosen.learn_light, world)
    name = world.name if world is not None else tr("No world")
    if light != STUDIO:
        return tr(f"{name} and Studio light") if light == BOTH else name
    lack = what_a_world_lacks(world) if chosen.reference_light == AUTOMATIC else ""
    return tr(f"Studio light: {lack}") if lack else tr("Studio light")
