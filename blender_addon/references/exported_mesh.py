# SPDX-License-Identifier: GPL-3.0-or-later
"""Export the stage's objects as a render evaluates them: so what is exported is what is rendered, vertex for vertex.

Only a render engine gets the meshes with the levels, modifiers and switches of renders. So one is registered for a
moment, which exports in place of rendering.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..common.errors import PbrFitError
from ..export.mesh_reading import Readings
from ..export.plan import GroupExport, GroupPlan, export_group
from ..export.uv_layout import find_overlap
from .rendering import render_depth
from .silhouettes import DEPTH_ERROR, LEAST_OVERLAP, MOST_WRONG_DEPTHS, difference
from .stage import Stage

CHECK_SIZE = 64
CHECKED_VIEWS = 3


def export(stage: Stage, plan: GroupPlan) -> GroupExport:
    """The objects of a plan, whose numbers are those of this file, as Cycles will render them.

    Raises PbrFitError if they cannot be exported, or if a set of maps has no face in renders.
    """
    exported: list[GroupExport | PbrFitError] = []

    def take(depsgraph: bpy.types.Depsgraph) -> None:
        readings = Readings(depsgraph)
        try:
            for target in stage.targets:
                check_materials(target, readings)
            exported.append(export_group(plan, bpy.context, depsgraph, readings))
        except PbrFitError as error:
            exported.append(error)

    in_render_depsgraph(stage, take)
    if not exported:
        raise PbrFitError("Blender did not evaluate the object for a render.", "Check that it renders: press F12.")
    result = exported[0]
    if isinstance(result, PbrFitError):
        raise result
    shown = np.unique(result.arrays.get("triangle_set", np.zeros(1, np.int32)))
    for index, map_set in enumerate(plan.sets):
        if index not in shown:
            raise PbrFitError(
                f'In renders no face shows "{map_set.name}", which the viewport shows.',
                "Make the modifiers do the same in renders as in the viewport.",
            )
    return result


def check_materials(target: bpy.types.Object, readings: Readings) -> None:
    """Raise PbrFitError if a face shows another material than its slot has: the fitted one would not show in its place."""
    shown = readings.materials_of(target)
    own = [slot.material for slot in target.material_slots]
    used = np.flatnonzero(np.bincount(readings.of(target).slots_within(len(shown))))
    for index in (index for index in used if index < len(shown)):
        if shown[index] != (own[index] if index < len(own) else None):
            name = shown[index].name if shown[index] is not None else ""
            gives = f'give it the material "{name}"' if name else "make faces without a material"
            raise PbrFitError(
                f'In renders the modifiers of "{target.name}" {gives} in place of its slots, where the fitted one goes.',
                "Make the modifiers do the same in renders as in the viewport, or convert the object to a mesh.",
            )


def in_render_depsgraph(stage: Stage, work: Callable[[bpy.types.Depsgraph], None]) -> None:
    """Call `work` with the dependency graph that a render of the stage evaluates."""

    class Exporter(bpy.types.RenderEngine):
        bl_idname = "PBRFIT_EXPORTER"
        bl_label = "PBRfit Exporter"

        def render(self, depsgraph: bpy.types.Depsgraph) -> None:
            work(depsgraph)

    bpy.utils.register_class(Exporter)
    try:
        stage.scene.render.engine = Exporter.bl_idname
        with bpy.context.temp_override(window=stage.window, area=stage.area):
            bpy.ops.render.render()
    finally:
        stage.scene.render.engine = "CYCLES"
        bpy.utils.unregister_class(Exporter)


def overlap_of(exported: GroupExport) -> float:
    """The largest share, 0..1, of a set of maps in which faces lie over each other."""
    triangles = exported.arrays["triangles"]
    corners = exported.arrays["vertex_uv"][triangles]
    sets = exported.arrays.get("triangle_set", np.zeros(len(triangles), dtype=np.int32))
    found = [
        find_overlap(corners[mine], np.zeros(int(mine.sum()), dtype=np.int64))
        for mine in (sets == number for number in np.unique(sets[sets >= 0]))
    ]
    return max((item.share for item in found if item is not None), default=0.0)


def save(exported: GroupExport, path: Path) -> None:
    """Write the wire arrays to an .npz file, which appears complete."""
    partial = path.with_suffix(".part")
    with open(partial, "wb") as file:
        np.savez(file, **exported.arrays)
    partial.replace(path)


def check(stage: Stage, exported: GroupExport, radius: float, views: list[dict[str, Any]]) -> None:
    """Compare what Cycles renders with the exported triangles, in a few views, before time is spent on references.

    radius: of the exported mesh; views: see render_references.py, all vertices in front of each.
    Raises PbrFitError if the silhouettes or depths differ: what shows is not (only) the exported mesh.
    """
    names = ", ".join(f'"{target.name}"' for target in stage.targets)
    positions, triangles = exported.arrays["vertex_position"], exported.arrays["triangles"]
    step = max(1, len(views) // CHECKED_VIEWS)
    for view in views[::step][:CHECKED_VIEWS]:
        rendered = render_depth(stage, view, CHECK_SIZE)
        overlap, wrong_depths = difference(rendered, positions, triangles, view, DEPTH_ERROR * radius)
        if overlap < LEAST_OVERLAP or wrong_depths > MOST_WRONG_DEPTHS:
            what = (
                f"their silhouettes share only {overlap:.0%} of their pixels"
                if overlap < LEAST_OVERLAP
                else f"{wrong_depths:.0%} of the pixels show another place"
            )
            raise PbrFitError(
                f"Cycles does not render the mesh of {names} that PBRfit exports: in view {view['index']} {what}.",
                "Convert the object to a mesh (Object > Convert > Mesh) and fit that.",
            )
