# SPDX-License-Identifier: GPL-3.0-or-later
"""From the click to a queue: check, export, and save the copy of the file that the second Blender works on.

All of it runs on the main thread, because the file changes only there. After it, nothing more is read from the file.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..assign.materials import AssignOptions
from ..closures.verdict import verdict_of
from ..common.errors import PbrFitError
from ..common.light_names import AUTOMATIC, SCENE, STUDIO
from ..common.node_trees import world_of
from ..common.render_devices import RenderDevice, wanted_devices
from ..comparing.process import unseen_light
from ..export import plan_json
from ..export.mesh_reading import Readings
from ..export.plan import GroupPlan, objects_of, plan_groups
from ..export.reference_light import is_black, reference_light, what_a_world_lacks
from ..export.world import RENDERED_SIZE, export_world
from ..preflight import checks as preflight
from ..preflight.checks import Finding
from ..preflight.verdicts import fitted_target, verdict
from ..protocol.quality import HELD_OUT_SAMPLES
from ..protocol.start_maps import StartMapsError, start_entry
from ..references.copied_file import CopiedFile, save_copy
from ..references.views import bounding_sphere
from ..settings.geometry_maps import chosen_geometry
from ..settings.map_shape import map_resolution, texel_count
from ..settings.properties import fit_settings, learns_light, margin_of
from ..settings.start import BAKE, MAPS, found_maps
from .bake_queue import GroupBake
from .baked_start import MOST_BYTES, MOST_IN_ONE
from .candidates import Candidates
from .fit_queue import FitQueue, GroupFit
from .group_queue import GroupQueue
from .session_status import SessionResult

MOST_SAID = 3  # materials
START_BYTES = 22  # of a texel that a fit starts from: nine numbers, and how sure they are
COPY = "copy"  # the folder of the copy in the session's folder


def new_folder() -> Path:
    """A new folder for a session, among Blender's temporary files, so that it goes when they go."""
    return Path(tempfile.mkdtemp(prefix="pbrfit_", dir=bpy.app.tempdir or None))


def remove_copy(folder: Path) -> None:
    """Remove the copy of the file, which nobody needs once the work is over. What it has made stays."""
    shutil.rmtree(folder / COPY, ignore_errors=True)


def prepare_fits(context: bpy.types.Context, folder: Path, progress: Callable[[float], None]) -> FitQueue:
    """Check and export the selection of `context`; the scene is as before when this returns.

    progress: called with 0..1. Raises PbrFitError if the checks find an error or the export fails.
    """
    depsgraph = context.evaluated_depsgraph_get()
    readings = Readings(depsgraph)
    warnings = _warnings(preflight.all_findings(context, depsgraph, readings))
    chosen, world = context.scene.pbrfit, world_of(context.scene, context.view_layer)
    light = reference_light(chosen.reference_light, learns_light(chosen), world)
    environment = None if light == STUDIO else export_world(world)
    progress(0.5)
    copy = save_copy(folder / COPY)
    fits = []
    for number, plan in enumerate(plan_groups(context, readings)):
        fits.append(_group_fit(context, readings, plan, copy, folder / f"group_{number}", warnings))
        fits[-1].light = light
        if light == SCENE:
            fits[-1].lack = what_a_world_lacks(world)
        if light == STUDIO and chosen.reference_light == AUTOMATIC:
            fits[-1].use_studio(what_a_world_lacks(world))
        if environment is not None:
            lack = fits[-1].take_scene_light(environment)
            if lack:
                fits[-1].use_studio(lack)
    device = RenderDevice(wanted_devices(context.preferences, context.scene.pbrfit.render_device))
    for fit in fits:
        fit.device = device
    # Only one world can be assigned: that of the first fit.
    for fit in fits[1:]:
        fit.options = dataclasses.replace(fit.options, world_scene_uid=None)
    return FitQueue(fits)


def prepare_bakes(context: bpy.types.Context, folder: Path, progress: Callable[[float], None]) -> GroupQueue[GroupBake]:
    """Check the selection of `context` and plan its bakes; the scene is as before when this returns.

    progress: called with 0..1. Raises PbrFitError if the checks find an error.
    """
    depsgraph = context.evaluated_depsgraph_get()
    readings = Readings(depsgraph)
    warnings = _warnings(preflight.all_findings(context, depsgraph, readings, preflight.BAKE))
    progress(0.5)
    copy = save_copy(folder / COPY)
    plans = plan_groups(context, readings)
    return GroupQueue(
        [_group_bake(context, plan, copy, folder / f"group_{number}", warnings) for number, plan in enumerate(plans)]
    )


def _warnings(findings: list[Finding]) -> list[str]:
    """What the checks say, if nothing of it is an error. Raises PbrFitError otherwise."""
    errors = preflight.errors_of(findings)
    if errors:
        others = "".join(f" Also: {finding}" for finding in errors[1:])
        raise PbrFitError(errors[0].cause, errors[0].cure + others)
    return [str(finding) for finding in findings]


def _group_fit(
    context: bpy.types.Context,
    readings: Readings,
    plan: GroupPlan,
    copy: CopiedFile,
    folder: Path,
    warnings: list[str],
) -> GroupFit:
    scene, chosen = context.scene, context.scene.pbrfit
    folder.mkdir()
    bake_plan = None
    notes: tuple[str, ...] = ()
    if chosen.start == BAKE:
        bake_plan = _bake_plan(context, plan, copy, folder) | {"start": True}
    elif chosen.start == MAPS:
        start, notes = start_maps_of(context, plan)
        bake_plan = _bake_plan(context, plan, copy, folder) | {"start": True, "start_maps": start}
    objects = [item for item in objects_of(plan).values() if item is not None]
    uv_maps = _uv_maps(plan)
    render_plan = _second_blenders_plan(context, plan, copy, folder) | {
        "mesh": plan_json.to_json(plan),
        "group": plan_json.to_json(plan),
        "shown_triangles": sum(len(readings.of(item, uv_maps[item.session_uid]).triangles) for item in objects),
        "shown_sphere": _sphere(objects, readings, uv_maps),
        "cameras": {
            "training": chosen.views,
            "held_out": chosen.held_out_views,
            "seed": chosen.seed,
            "samples": chosen.samples,
            "held_out_samples": chosen.samples * HELD_OUT_SAMPLES,
        },
        "size": chosen.view_size,
        "samples": chosen.samples,
        "environment": list(RENDERED_SIZE),
    }
    rounds = _rounds(context, plan)
    fit = GroupFit(
        plan=plan,
        settings=fit_settings(chosen),
        options=AssignOptions.from_scene(scene),
        candidates=Candidates(len(plan.sets), chosen.use_alpha),
        bake_plan=bake_plan,
        exact=_exact_text(context, plan) if chosen.start == BAKE else "",
        rounds=rounds,
        wanted=(chosen.views + 1) // 2 if rounds else chosen.views,
        may_use_studio=chosen.reference_light == AUTOMATIC and not learns_light(chosen),
        has_own_light=not_black(world_of(scene, context.view_layer)),
        unseen_light=unseen_light(world_of(scene, context.view_layer)),
        nodes=nodes_of(plan, fitted_target(chosen)),
        render_plan=render_plan,
        folder=folder,
        result=_result(plan, render_plan, warnings),
    )
    fit.notes += notes
    return fit


def start_maps_of(context: bpy.types.Context, plan: GroupPlan) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """What a group's fit begins with in place of a bake, for each set, and what is taken as what, in words.

    Raises PbrFitError if the maps that the artist has chosen cannot be, or if it cannot be told whose they are.
    """
    found, objects = found_maps(context.scene.pbrfit, again=True), objects_of(plan)
    try:
        families = []
        for item in plan.sets:
            owners = [objects[use.object_uid] for use in item.slots]
            families.append(found.family_for([item.name, *(owner.name for owner in owners if owner is not None)]))
        entries = [start_entry(family, item.tile) for family, item in zip(families, plan.sets, strict=True)]
    except StartMapsError as error:
        raise PbrFitError(error.cause, error.cure) from error
    lines = [line for family in dict.fromkeys(family.name for family in families) for line in found.words_of(family)]
    return entries, (f"The fit began with {'; '.join(lines)}.",)


def _group_bake(
    context: bpy.types.Context, plan: GroupPlan, copy: CopiedFile, folder: Path, warnings: list[str]
) -> GroupBake:
    scene = context.scene
    bake_plan = _bake_plan(context, plan, copy, folder)
    return GroupBake(
        plan=plan,
        # A bake learns no light.
        options=dataclasses.replace(AssignOptions.from_scene(scene), world_scene_uid=None),
        bake_plan=bake_plan,
        folder=folder,
        result=_result(plan, bake_plan, warnings),
        nodes=nodes_of(plan, scene.pbrfit.bake_target),
    )


def _bake_plan(context: bpy.types.Context, plan: GroupPlan, copy: CopiedFile, folder: Path) -> dict[str, Any]:
    chosen = context.scene.pbrfit
    return _second_blenders_plan(context, plan, copy, folder) | {
        "group": plan_json.to_json(plan),
        "target": chosen.bake_target,
        "resolution": map_resolution(chosen),
        "supersampling": int(chosen.supersampling),
        "margin": margin_of(chosen),
        "occlusion": bool(chosen.use_occlusion),
        "geometry": chosen_geometry(chosen),
    }


def _rounds(context: bpy.types.Context, plan: GroupPlan) -> int:
    """How many rounds of correction are to follow a fit. A light that is learned is not that of Cycles."""
    chosen = context.scene.pbrfit
    texels = texel_count(chosen)
    fits_in = len(plan.sets) * texels * START_BYTES <= MOST_BYTES and texels * START_BYTES <= MOST_IN_ONE
    return chosen.rounds if fits_in and not learns_light(chosen) else 0


def not_black(world: bpy.types.World | None) -> bool:
    """Whether a world may give light."""
    return world is not None and not is_black(world)


def _exact_text(context: bpy.types.Context, plan: GroupPlan) -> str:
    """What to say where a bake of a group is all that is needed; empty where it is not."""
    chosen, found = context.scene.pbrfit, _originals(plan)
    if learns_light(chosen) or not found or None in found:
        return ""
    verdicts = [verdict_of(material, chosen.bake_target) for material in found if material is not None]
    if not all(known.says_all for known in verdicts):
        return ""
    return " ".join(known.text for known in verdicts[:MOST_SAID]) + " So nothing had to be fitted."


def nodes_of(plan: GroupPlan, target: str) -> dict[str, Any]:
    """What the original materials of a group are, by name, as JSON values: kind: of their verdict; lost: what the target cannot
    keep, in words; keeper: the leanest target that can, or empty."""
    return node_facts(_originals(plan), target)


def node_facts(materials: Iterable[bpy.types.Material | None], target: str) -> dict[str, Any]:
    """The same of materials."""
    found: dict[str, Any] = {}
    for material in materials:
        if material is not None:
            known = verdict(material, target)
            lost = list(dict.fromkeys(loss.words for loss in known.losses))
            found[material.name] = {"kind": known.kind, "lost": lost, "keeper": known.keeper}
    return found


def _originals(plan: GroupPlan) -> list[bpy.types.Material | None]:
    """The materials in the slots of a group, each once; None for empty ones."""
    objects = objects_of(plan)
    slots = dict.fromkeys(use for item in plan.sets for use in item.slots)
    owners = ((objects[use.object_uid], use.slot_index) for use in slots)
    return list(dict.fromkeys(owner.material_slots[index].material for owner, index in owners if owner is not None))


def _second_blenders_plan(
    context: bpy.types.Context, plan: GroupPlan, copy: CopiedFile, folder: Path
) -> dict[str, Any]:
    """What every plan for a second Blender says: the file, the group's objects, and where the results go."""
    objects = [item for item in objects_of(plan).values() if item is not None]
    return {
        "blend": str(copy.path),
        "cache_folders": copy.folders,
        # Files with Python that Blender was not allowed to run do not run it here either.
        "use_scripts": not bpy.app.autoexec_fail,
        "scene": context.scene.name,
        "view_layer": context.view_layer.name,
        "objects": [[item.name, item.library.filepath if item.library is not None else None] for item in objects],
        "output": str(folder),
        "threads": 0,
    }


def _result(plan: GroupPlan, second_blenders_plan: dict[str, Any], warnings: list[str]) -> SessionResult:
    first = plan.objects[0]
    return SessionResult(first.name, _uv_maps(plan)[first.uid], second_blenders_plan, [], warnings)


def _uv_maps(plan: GroupPlan) -> dict[int, str]:
    """The UV maps of a group by object number."""
    return {uid: name for item in plan.sets for uid, name in item.uv_maps.items()}


def _sphere(objects: list[bpy.types.Object], readings: Readings, uv_maps: dict[int, str]) -> tuple[list[float], float]:
    """Center and radius of the sphere around what the viewport shows."""
    parts = []
    for item in objects:
        matrix = np.array(item.evaluated_get(readings.depsgraph).matrix_world)
        parts.append(readings.of(item, uv_maps[item.session_uid]).positions @ matrix[:3, :3].T + matrix[:3, 3])
    center, radius = bounding_sphere(np.concatenate(parts).astype(np.float32))
    return center.tolist(), radius
