# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan of render_references.py in this Blender."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..common.render_devices import use_devices
from ..export import plan_json
from . import candidate, candidate_start, copied_file, exported_mesh, rendering, stage
from .studio_lights import StudioLights
from .views import bounding_sphere, plan_views, views_for_blender

Json = dict[str, Any]


def render_plan(plan: Json, report: Callable[[Json], None]) -> None:
    """Do what one plan asks for; call `report` with the line for each finished file.

    Raises PbrFitError if the file lacks what the plan names, cannot be rendered as exported, or a file cannot be written.
    """
    open_file(plan)
    output = Path(plan["output"])
    output.mkdir(parents=True, exist_ok=True)
    if "world" in plan:
        scene = bpy.data.scenes.new("PBRfit world")
        scene.world = stage.find(bpy.data.worlds, (plan["world"], None), plan["blend"])
        layer = scene.view_layers[0]
    else:
        scene, layer = stage.find_scene(plan["scene"], plan["view_layer"])
    names = [(name, library) for name, library in plan.get("objects", [])]
    on_gpu = use_devices(scene, plan, report)
    set_up = stage.set_up(scene, layer, names, plan.get("samples", 16), plan.get("threads", 0), on_gpu)
    stage.put_materials(set_up.targets, plan.get("materials", []))
    if plan.get("environment"):
        width, height = plan["environment"]
        save_array(output / "environment.npy", rendering.render_world(set_up, width, height))
        report({"environment": "environment.npy"})
    lights = StudioLights(set_up, plan.get("studio", False))
    if plan.get("studio") or plan.get("cameras", {}).get("lights"):
        save_array(output / "lights.npy", lights.make())
        report({"lights": "lights.npy"})  # before the mesh, after which the backend gets its inputs
    views = export_mesh(set_up, plan, output, report) if "mesh" in plan else plan["views"]
    if plan.get("candidate"):
        other = plan["candidate"]
        if other["start"]:
            name = f"{other['name']}_start.npz"
            save_arrays(output / name, candidate_start.texels_of(other, other["start"]))
            report({"start": name})
        group = plan_json.from_json(plan["group"], [target.session_uid for target in set_up.targets])
        missing = [view for view in views if view["index"] not in other["rendered"]]
        with candidate.shown(set_up, group, other):
            render_views(set_up, lights, plan, missing, other["name"], output, report)
    missing = [view for view in views if view["index"] not in plan.get("rendered", [])]
    render_views(set_up, lights, plan, missing, "view", output, report)


def render_views(
    set_up: stage.Stage,
    lights: StudioLights,
    plan: Json,
    views: list[Json],
    kind: str,
    output: Path,
    report: Callable[[Json], None],
) -> None:
    """Render views of what the stage shows into files, and report each. kind: "view", or the name of a candidate."""
    # All views in one light, then those in the next: Cycles prepares each light anew.
    for view in sorted(views, key=lambda view: view.get("light", 0)):
        lights.use(view.get("light", 0))
        start = time.perf_counter()
        pixels = rendering.render_view(set_up, view, plan.get("size", 256), plan.get("samples", 16))
        name = f"{kind}_{view['index']:04d}.npy"
        save_array(output / name, pixels)
        shown = "view" if kind == "view" else "candidate"
        report({shown: view["index"], "file": name, "seconds": round(time.perf_counter() - start, 3)})


def export_mesh(set_up: stage.Stage, plan: Json, output: Path, report: Callable[[Json], None]) -> list[Json]:
    """Export the plan's objects, plan the views around them, and check a few; returns the views."""
    group = plan_json.from_json(plan["mesh"], [target.session_uid for target in set_up.targets])
    exported = exported_mesh.export(set_up, group)
    center, radius = bounding_sphere(exported.world_positions)
    cameras = plan["cameras"]
    planned = plan_views(
        center, radius, cameras["training"], cameras["held_out"], cameras["seed"], cameras.get("lights", 0)
    )
    views = views_for_blender(planned, cameras)
    exported_mesh.check(set_up, exported, radius, views)
    try:
        exported_mesh.save(exported, output / "mesh.npz")
    except OSError as error:
        raise no_room(output / "mesh.npz", error) from error
    # The checks before the fit have seen the mesh of the viewport.
    is_other = len(exported.arrays["triangles"]) != plan.get("shown_triangles")
    overlap = exported_mesh.overlap_of(exported) if is_other else 0.0
    report({"mesh": "mesh.npz", "center": center.tolist(), "radius": radius, "overlap": overlap})
    return views


def open_file(plan: Json) -> None:
    """Open the plan's file. Raises PbrFitError if that is impossible."""
    load(plan)
    folders = plan.get("cache_folders", [])
    if folders:
        # Blender looks for a cache once, while it opens a file.
        copied_file.name_folders(folders)
        bpy.ops.wm.save_mainfile()
        load(plan)


def load(plan: Json) -> None:
    """Open the plan's file as it is. Raises PbrFitError if that is impossible."""
    if not Path(plan["blend"]).is_file():
        raise PbrFitError(f"{plan['blend']} does not exist.", "Give the path of a saved .blend file.")
    try:
        bpy.ops.wm.open_mainfile(
            filepath=str(plan["blend"]), load_ui=False, use_scripts=bool(plan.get("use_scripts", False))
        )
    except RuntimeError as error:
        raise PbrFitError(
            f"Blender {bpy.app.version_string} cannot open {plan['blend']}: {error}",
            "Use a Blender at least as new as the one that saved the file.",
        ) from error


def save_array(path: Path, array: NDArray[np.float32]) -> None:
    """Write an .npy file, which appears complete. Raises PbrFitError if it cannot be written."""
    partial = path.with_suffix(".part")
    try:
        with open(partial, "wb") as file:
            np.save(file, array)
        os.replace(partial, path)
    except OSError as error:
        raise no_room(path, error) from error


def save_arrays(path: Path, arrays: dict[str, NDArray[np.float16]]) -> None:
    """Write an .npz file. Raises PbrFitError if it cannot be written."""
    try:
        np.savez(path, **arrays)
    except OSError as error:
        raise no_room(path, error) from error


def no_room(path: Path, error: OSError) -> PbrFitError:
    """The error for a file that cannot be written."""
    return PbrFitError(f"Cannot write {path}: {error.strerror}.", "Free disk space or choose another folder.")
