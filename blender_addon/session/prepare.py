# SPDX-License-Identifier: GPL-3.0-or-later
"""From the click to a queue of fits: check, export, and save the copy of the file that the second Blender renders.

All of it runs on the main thread, because the file changes only there. After it, nothing more is read from the file.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

from ..assign.materials import AssignOptions
from ..common.errors import PbrFitError
from ..common.node_trees import world_of
from ..export import plan_json
from ..export.mesh_reading import Readings
from ..export.plan import GroupPlan, objects_of, plan_groups
from ..export.world import RENDERED_SIZE, export_world
from ..preflight import checks as preflight
from ..protocol.quality import HELD_OUT_SAMPLES
from ..references.copied_file import CopiedFile, save_copy
from ..references.views import bounding_sphere
from ..settings.properties import fit_settings
from .fit_queue import FitQueue, GroupFit
from .session_status import SessionResult

COPY = "copy"  # the folder of the copy in the session's folder


def new_folder() -> Path:
    """A new folder for a session, among Blender's temporary files, so that it goes when they go."""
    return Path(tempfile.mkdtemp(prefix="pbrfit_", dir=bpy.app.tempdir or None))


def remove_copy(folder: Path) -> None:
    """Remove the copy of the file, which nobody needs once the fits are over. The rendered views stay."""
    shutil.rmtree(folder / COPY, ignore_errors=True)


def prepare_fits(context: bpy.types.Context, folder: Path, progress: Callable[[float], None]) -> FitQueue:
    """Check and export the selection of `context`; the scene is as before when this returns.

    progress: called with 0..1. Raises PbrFitError if the checks find an error or the export fails.
    """
    depsgraph = context.evaluated_depsgraph_get()
    readings = Readings(depsgraph)
    findings = preflight.all_findings(context, depsgraph, readings)
    errors = preflight.errors_of(findings)
    if errors:
        others = "".join(f" Also: {finding}" for finding in errors[1:])
        raise PbrFitError(errors[0].cause, errors[0].cure + others)
    warnings = [str(finding) for finding in findings]
    environment = export_world(world_of(context.scene, context.view_layer))
    progress(0.5)
    copy = save_copy(folder / COPY)
    fits = []
    for number, plan in enumerate(plan_groups(context, readings)):
        fits.append(_group_fit(context, readings, plan, copy, folder / f"group_{number}", warnings))
        if environment is not None:
            fits[-1].set_environment(environment)
    # Only one world can be assigned: that of the first fit.
    for fit in fits[1:]:
        fit.options = dataclasses.replace(fit.options, world_scene_uid=None)
    return FitQueue(fits)


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
    objects = [item for item in objects_of(plan).values() if item is not None]
    uv_maps = {uid: name for item in plan.sets for uid, name in item.uv_maps.items()}
    render_plan = {
        "blend": str(copy.path),
        "cache_folders": copy.folders,
        # Files with Python that Blender was not allowed to run do not run it here either.
        "use_scripts": not bpy.app.autoexec_fail,
        "scene": scene.name,
        "view_layer": context.view_layer.name,
        "objects": [[item.name, item.library.filepath if item.library is not None else None] for item in objects],
        "mesh": plan_json.to_json(plan),
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
        "output": str(folder),
        "threads": 0,
        "environment": list(RENDERED_SIZE),
    }
    first = plan.objects[0]
    result = SessionResult(first.name, uv_maps[first.uid], render_plan, [], warnings)
    settings, options = fit_settings(chosen), AssignOptions.from_scene(scene)
    return GroupFit(plan, settings, options, render_plan, folder, result)


def _sphere(objects: list[bpy.types.Object], readings: Readings, uv_maps: dict[int, str]) -> tuple[list[float], float]:
    """Center and radius of the sphere around what the viewport shows."""
    parts = []
    for item in objects:
        matrix = np.array(item.evaluated_get(readings.depsgraph).matrix_world)
        parts.append(readings.of(item, uv_maps[item.session_uid]).positions @ matrix[:3, :3].T + matrix[:3, 3])
    center, radius = bounding_sphere(np.concatenate(parts).astype(np.float32))
    return center.tolist(), radius
