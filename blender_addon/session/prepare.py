# SPDX-License-Identifier: GPL-3.0-or-later
"""From the click to a queue of fits: check, export, and save the copy of the file that the second Blender renders.

All of it runs on the main thread, because the file changes only there. After it, nothing more is read from the file.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import bpy

from ..assign.materials import AssignOptions
from ..common.errors import PbrFitError
from ..export.mesh_reading import Readings
from ..export.plan import GroupPlan, export_group, plan_groups
from ..export.world import RENDERED_SIZE, export_world
from ..preflight import checks as preflight
from ..protocol.quality import HELD_OUT_SAMPLES
from ..references.process import save_copy
from ..references.views import bounding_sphere, plan_views
from ..settings.properties import fit_settings
from .fit_queue import FitQueue, GroupFit
from .session_status import SessionResult


def new_folder() -> Path:
    """A new folder for a session, among Blender's temporary files, so that it goes when they go."""
    return Path(tempfile.mkdtemp(prefix="pbrfit_", dir=bpy.app.tempdir or None))


def remove_copy(folder: Path) -> None:
    """Remove the copy of the file, which nobody needs once the fits are over. The rendered views stay."""
    (folder / "copy.blend").unlink(missing_ok=True)


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
    environment = export_world(context.scene)
    plans = plan_groups(context, readings)
    fits = []
    for number, plan in enumerate(plans):
        progress((number + 1) / (len(plans) + 2))
        fits.append(_group_fit(context, depsgraph, readings, plan, folder / f"group_{number}", warnings))
        if environment is not None:
            fits[-1].set_environment(environment)
    # Only one world can be assigned: that of the first fit.
    for fit in fits[1:]:
        fit.options = dataclasses.replace(fit.options, world_scene_uid=None)
    progress((len(plans) + 1) / (len(plans) + 2))
    save_copy(folder / "copy.blend")
    return FitQueue(fits)


def _group_fit(
    context: bpy.types.Context,
    depsgraph: bpy.types.Depsgraph,
    readings: Readings,
    plan: GroupPlan,
    folder: Path,
    warnings: list[str],
) -> GroupFit:
    scene, chosen = context.scene, context.scene.pbrfit
    folder.mkdir()
    export = export_group(plan, context, depsgraph, readings)
    center, radius = bounding_sphere(export.world_positions)
    views = plan_views(center, radius, chosen.views, chosen.held_out_views, chosen.seed)
    render_plan = {
        "blend": str(folder.parent / "copy.blend"),
        "scene": scene.name,
        "objects": [item.name for item in plan.objects],
        "size": chosen.view_size,
        "samples": chosen.samples,
        "output": str(folder),
        "threads": 0,
        "world_hdri": None,
        "environment": list(RENDERED_SIZE),
        "views": [
            view.for_blender() | {"samples": chosen.samples * (HELD_OUT_SAMPLES if view.held_out else 1)}
            for view in views
        ],
    }
    first = plan.objects[0]
    uv_map = next(item.uv_maps[first.uid] for item in plan.sets if first.uid in item.uv_maps)
    result = SessionResult(first.name, uv_map, render_plan, views, warnings)
    settings, options = fit_settings(chosen), AssignOptions.from_scene(scene)
    return GroupFit(plan, settings, options, dict(export.arrays), views, render_plan, folder, result)
