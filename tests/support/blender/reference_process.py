"""The second Blender of a fit in tests: what it delivers for objects of the open file."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np

TIMEOUT_S = 240.0


@dataclass
class Delivered:
    """What came: the mesh's wire arrays, images float32 [h, w, 4] and cameras by index, and the light."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    images: dict[int, np.ndarray] = field(default_factory=dict)
    views: list = field(default_factory=list)
    environment: np.ndarray | None = None
    center: np.ndarray | None = None
    radius: float = 0.0
    overlap: float = 0.0


def plan_of(addon, directory: Path, views: int = 2, size: int = 48, samples: int = 4, **changes: Any) -> dict[str, Any]:
    """A plan for the selected objects of the open file, whose copy is saved: what one click makes of the first group."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    (group,) = addon.export.plan.plan_groups(bpy.context)
    objects = [item for item in addon.export.plan.objects_of(group).values() if item is not None]
    copy = addon.references.copied_file.save_copy(directory / "copy")
    return {
        "blend": str(copy.path),
        "cache_folders": copy.folders,
        "scene": scene.name,
        "view_layer": layer.name,
        "objects": [[item.name, item.library.filepath if item.library is not None else None] for item in objects],
        "mesh": addon.export.plan_json.to_json(group),
        "cameras": {"training": views, "held_out": 0, "seed": 0, "samples": samples, "held_out_samples": samples},
        "size": size,
        "samples": samples,
        "output": str(directory),
        "threads": 1,
        **changes,
    }


def deliver(addon, plan: dict[str, Any], directory: Path) -> Delivered:
    """Carry out a plan in a second Blender and wait for all of it. Raises PbrFitError if it fails."""
    process = addon.references.process
    delivered = Delivered()
    cameras = plan.get("cameras", {"training": 0, "held_out": 0, "seed": 0})
    wanted = len(plan["views"]) if "views" in plan else cameras["training"] + cameras["held_out"]
    renderer = process.ReferenceRenderer(plan, directory)
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while len(delivered.images) < wanted or (plan.get("environment") and delivered.environment is None):
            assert time.monotonic() < deadline, "the second Blender did not finish"
            for finished in renderer.poll():
                if isinstance(finished, process.EnvironmentRendered):
                    delivered.environment = finished.radiance
                elif isinstance(finished, process.MeshExported):
                    delivered.arrays, delivered.center = finished.arrays, finished.center
                    delivered.radius, delivered.overlap = finished.radius, finished.overlap
                    delivered.views = addon.references.views.plan_views(
                        finished.center, finished.radius, cameras["training"], cameras["held_out"], cameras["seed"]
                    )
                else:
                    delivered.images[finished.index] = finished.image
            time.sleep(0.02)
    finally:
        renderer.stop()
    return delivered


def references_of(addon, directory: Path, **changes: Any) -> Delivered:
    """What a click on the selected objects of the open file gets from the second Blender; see `plan_of`."""
    directory.mkdir(parents=True, exist_ok=True)
    return deliver(addon, plan_of(addon, directory, **changes), directory)
