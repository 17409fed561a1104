"""The second Blender of a bake in tests: the maps that it makes of the selected objects of the open file."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from support.blender.shader_trees import Tree

TIMEOUT_S = 240.0
SIZE = 64
RISING = (np.arange(SIZE) + 0.5) / SIZE
"""What `gradient` is in the middles of so many texels."""


def plan_of(
    addon, directory: Path, target: str = "PRINCIPLED", resolution: int | tuple[int, int] = 64, **changes: Any
) -> dict[str, Any]:
    """A plan for the selected objects of the open file, whose copy is saved."""
    copy = addon.references.copied_file.save_copy(directory / "copy")
    shared = {
        "blend": str(copy.path),
        "cache_folders": copy.folders,
        "scene": bpy.context.scene.name,
        "view_layer": bpy.context.view_layer.name,
        "target": target,
        "resolution": resolution,
        "supersampling": 2,
        "threads": 0,
        **changes,
    }
    plans = []
    for number, group in enumerate(addon.export.plan.plan_groups(bpy.context)):
        objects = addon.export.plan.objects_of(group).values()
        plans.append(
            {
                **shared,
                "objects": [[item.name, None] for item in objects],
                "group": addon.export.plan_json.to_json(group),
                "output": str(directory / f"group_{number}"),
            }
        )
    return {**plans[0], "plans": plans[1:]}


def bake(addon, directory: Path, **changes: Any) -> list[Any]:
    """The baked maps of all groups (`BakedMaps`). Raises PbrFitError as the process does."""
    baker = addon.baking.process.MapBaker(plan_of(addon, directory, **changes), directory)
    count = len(addon.export.plan.plan_groups(bpy.context))
    found: dict[int, Any] = {}
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while len(found) < count:
            assert time.monotonic() < deadline, "the bake takes too long"
            for event in baker.poll():
                if hasattr(event, "maps"):
                    found[event.group] = event.maps
            time.sleep(0.02)
    finally:
        baker.stop()
    return [found[number] for number in range(count)]


def start_of(addon, directory: Path, **changes: Any) -> dict[str, np.ndarray]:
    """The arrays with which a fit of the one set of the selected objects begins, float64."""
    baker = addon.baking.process.MapBaker(plan_of(addon, directory, start=True, **changes), directory)
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while True:
            assert time.monotonic() < deadline, "the bake takes too long"
            for event in baker.poll():
                if hasattr(event, "starts"):
                    return {name: array.astype(np.float64) for name, array in event.starts[0].items()}
            time.sleep(0.02)
    finally:
        baker.stop()


def pixels(maps, name: str) -> np.ndarray:
    """A map as it is stored, float64 [H, W, C] (8 bits: 0..1; C is 3, or 4 where it varies), row 0 at the top."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"map{Path(name).suffix}")
        path.write_bytes(maps.files[name])
        image = bpy.data.images.load(str(path))
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED"
        values = np.array(image.pixels[:]).reshape(image.size[1], image.size[0], -1)[::-1]
        bpy.data.images.remove(image)
    return values if np.ptp(values[..., 3]) else values[..., :3]


def only(maps) -> tuple:
    """The one recipe of the one group."""
    (group,) = maps
    (recipe,) = group.recipes
    return group, recipe


def noise_image(width: int, seed: int = 0, alpha: bool = False, height: int = 0) -> tuple[bpy.types.Image, np.ndarray]:
    """A packed image of random bytes, square without a height, and these, uint8 [height, width, 4], row 0 at the top."""
    values = np.random.default_rng(seed).integers(0, 256, (height or width, width, 4), np.uint8)
    if not alpha:
        values[..., 3] = 255
    image = bpy.data.images.new("Noise", width, height or width, alpha=alpha)
    image.pixels.foreach_set((values[::-1] / 255.0).astype(np.float32).ravel())
    image.pack()
    return image, values


def gradient(tree: Tree, axis: int) -> bpy.types.Node:
    """A number that rises along an axis of the UV map, from 0 to 1."""
    split = tree.link(tree.new("TexCoord"), tree.new("SeparateXYZ"), 0, output=2)
    number = tree.new("Math")
    number.operation = "ADD"
    number.inputs[1].default_value = 0.0
    return tree.link(split, number, 0, output=axis)
