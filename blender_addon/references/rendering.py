# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a stage to arrays: a view of its objects, or the light of its world."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..common.color_spaces import data_space, rec709_from_scene_linear
from ..common.errors import GpuFailed
from .stage import Stage


def render_view(stage: Stage, view: dict[str, Any], size: int, samples: int) -> NDArray[np.float32]:
    """A view: float32 [size, size, 4], or of its own size, linear Rec.709, premultiplied, row 0 at the top.

    view: see render_references.py.
    """
    place_camera(stage, view)
    stage.scene.cycles.seed = view.get("seed", 0)
    stage.scene.cycles.samples = view.get("samples", samples)
    width, height = view.get("size", (size, size))
    return render(stage, width, height)


def place_camera(stage: Stage, view: dict[str, Any]) -> None:
    """Put the stage's camera where a view of the plan has it."""
    camera = stage.camera
    camera.matrix_world = Matrix(view["matrix_world"])
    camera.data.sensor_fit = "HORIZONTAL"
    camera.data.shift_x, camera.data.shift_y = view.get("shift", (0.0, 0.0))
    if "width" in view:
        camera.data.type = "ORTHO"
        camera.data.ortho_scale = view["width"]
    else:
        camera.data.type = "PERSP"
        camera.data.angle = view["fov"]
    camera.data.clip_start, camera.data.clip_end = view["clip_start"], view["clip_end"]


def render_world(stage: Stage, width: int, height: int) -> NDArray[np.float32]:
    """The world's light, float32 [height, width, 3], equirectangular, row 0 at the top; black without a world."""
    if stage.scene.world is None:
        return np.zeros((height, width, 3), np.float32)
    camera, cycles = stage.camera, stage.scene.cycles
    camera.data.type = "PANO"
    panorama = camera.data if hasattr(camera.data, "panorama_type") else camera.data.cycles
    panorama.panorama_type = "EQUIRECTANGULAR"
    camera.matrix_world = Matrix.LocRotScale(None, None, None)
    camera.rotation_euler = [np.radians(90.0), 0.0, np.radians(-90.0)]
    with without_objects(stage), center_of_pixels(stage):
        stage.scene.render.film_transparent = False
        try:
            cycles.seed = 0
            return np.ascontiguousarray(render(stage, width, height)[..., :3])
        finally:
            stage.scene.render.film_transparent = True


def render_depth(stage: Stage, view: dict[str, Any], size: int) -> NDArray[np.float32]:
    """The distance from the camera's plane to what Cycles renders, in the centers of pixels, whatever the materials are:
    float32 [size, size], row 0 at the top; 0 where nothing shows. view: see render_references.py.
    """
    material = bpy.data.materials.new("PBRfit depth")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    camera, emission, output = (
        nodes.new(kind) for kind in ("ShaderNodeCameraData", "ShaderNodeEmission", "ShaderNodeOutputMaterial")
    )
    links.new(camera.outputs["View Z Depth"], emission.inputs["Strength"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    emission.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    place_camera(stage, view)
    stage.view_layer.material_override = material
    stage.view_layer.use_sky = False  # no light is needed: to prepare that of an image takes Cycles seconds
    stage.scene.render.use_persistent_data = False
    try:
        with center_of_pixels(stage):
            pixels = render(stage, size, size)
    finally:
        stage.view_layer.material_override = None
        stage.view_layer.use_sky = True
        stage.scene.render.use_persistent_data = True
        bpy.data.materials.remove(material)
    return np.where(pixels[..., 3] > 0.5, pixels[..., 1], np.float32(0.0))


@contextmanager
def without_objects(stage: Stage) -> Iterator[None]:
    """Without the stage's objects. They leave the view layer: to hide them would make their particles start again."""
    layer = stage.view_layer.layer_collection.children[stage.shown.name]
    layer.exclude = True
    try:
        yield
    finally:
        layer.exclude = False


@contextmanager
def center_of_pixels(stage: Stage) -> Iterator[None]:
    """With one sample for each pixel, in its center."""
    cycles = stage.scene.cycles
    kept = cycles.samples, cycles.filter_width
    cycles.samples, cycles.filter_width = 1, 0.01
    try:
        yield
    finally:
        cycles.samples, cycles.filter_width = kept


def render(stage: Stage, width: int, height: int) -> NDArray[np.float32]:
    """What the stage's camera sees: float32 [height, width, 4], linear Rec.709, premultiplied, row 0 at the top.

    Raises GpuFailed if Cycles renders on a GPU and that fails.
    """
    settings = stage.scene.render
    settings.resolution_x, settings.resolution_y = width, height
    # Without a window the pixels of a "Render Result" cannot be read, so a file carries them.
    with tempfile.TemporaryDirectory(prefix="pbrfit-") as folder:
        path = os.path.join(folder, "render.exr")
        settings.filepath = path
        try:
            with bpy.context.temp_override(window=stage.window, area=stage.area):
                bpy.ops.render.render(write_still=True)
            image = bpy.data.images.load(path)
        except RuntimeError as error:  # what Cycles reports, or no file
            if stage.scene.cycles.device == "CPU":
                raise
            cause = str(error).strip().removeprefix("Error: ")
            raise GpuFailed(cause, "Set Render With to CPU in PBRfit's settings.") from error
        try:
            image.colorspace_settings.name = data_space()
            pixels = np.empty(width * height * 4, np.float32)
            image.pixels.foreach_get(pixels)
        finally:
            bpy.data.images.remove(image)
    pixels = pixels.reshape(height, width, 4)[::-1]
    matrix = rec709_from_scene_linear()
    if not np.array_equal(matrix, np.eye(3)):
        pixels = np.concatenate([pixels[..., :3] @ matrix.T.astype(np.float32), pixels[..., 3:]], axis=-1)
    return np.ascontiguousarray(pixels, dtype=np.float32)
