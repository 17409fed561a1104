"""Spheres of one material each, rendered by Cycles: the truth that shading models are measured against.

All spheres of a world stand in one image, a grid of metallic (rows) by roughness (columns). Only the camera sees them,
so that none shadows or mirrors another: each is alone in its world, and a sphere does not shadow itself. The camera is
orthographic and each pixel's rays go through its centre, so that the surface point of a pixel is known in closed form.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

SPACING = 2.2
"""Distance between the centres of neighbouring spheres, whose radius is 1."""
_EYE = (0.55, -0.75, 0.35)
"""From the spheres towards the camera, in Blender's axes: along none of the world's."""


@dataclass(frozen=True)
class SphereGrid:
    """The materials of an image: base colour (linear), roughnesses from left to right, metallics from top to bottom."""

    base_color: tuple[float, float, float] = (0.8, 0.4, 0.15)
    roughness: tuple[float, ...] = tuple(round(0.1 * step, 1) for step in range(1, 11))
    metallic: tuple[float, ...] = (0.0, 0.5, 1.0)
    pixels: int = 48

    def cells(self, image: np.ndarray) -> torch.Tensor:
        """An image [rows * pixels, columns * pixels, C] as spheres [rows, columns, pixels, pixels, C]."""
        rows, columns, size = len(self.metallic), len(self.roughness), self.pixels
        cells = torch.from_numpy(image).reshape(rows, size, columns, size, -1)
        return cells.permute(0, 2, 1, 3, 4).contiguous()


def sphere_points(pixels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the pixels of one sphere show: normal and view [P, P, 3] in the renderer's axes, and N.V [P, P] (< 0: none)."""
    right, up, eye = (torch.from_numpy(axis) for axis in _camera_axes())
    offset = ((torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels - 0.5) * SPACING
    y, x = torch.meshgrid(-offset, offset, indexing="ij")
    depth2 = 1 - x * x - y * y
    n_dot_v = torch.where(depth2 > 0, depth2.clamp(min=0).sqrt(), torch.full_like(depth2, -1))
    normal = x[..., None] * right + y[..., None] * up + n_dot_v[..., None] * eye
    return _to_renderer(normal), _to_renderer(eye.expand_as(normal)), n_dot_v


def _camera_axes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    eye = np.array(_EYE) / np.linalg.norm(_EYE)
    right = np.cross([0.0, 0.0, 1.0], eye)
    right /= np.linalg.norm(right)
    return right, np.cross(eye, right), eye


def _to_renderer(vector: torch.Tensor) -> torch.Tensor:
    """Blender's (X, Y, Z) is the renderer's (-Y, Z, -X)."""
    x, y, z = vector.unbind(-1)
    return torch.stack([-y, z, -x], -1)


def render_spheres(
    grid: SphereGrid,
    environment: np.ndarray | None,
    distribution: str,
    samples: int,
    seed: int = 0,
    change: Callable[[Any, int, int], None] | None = None,
) -> np.ndarray:
    """Cycles' image of the grid, float32 [H, W, 4], linear Rec.709, premultiplied, row 0 at the top.

    environment   [h, w, 3] equirectangular, linear, row 0 at the top; None: a white furnace of radiance 1
    distribution  the Principled BSDF's "MULTI_GGX" or "GGX"; everything else is at its default
    change        is called with the inputs of each sphere's Principled BSDF, its row and its column, to set others
    """
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    with tempfile.TemporaryDirectory(prefix="pbrfit-spheres-") as folder, _silence():
        scene = bpy.context.scene
        _plain_cycles(scene, samples, seed)
        scene.render.resolution_x = grid.pixels * len(grid.roughness)
        scene.render.resolution_y = grid.pixels * len(grid.metallic)
        scene.world = _world(bpy, environment, Path(folder))
        _place(bpy, scene, grid, distribution, change)
        path = os.path.join(folder, "render.exr")
        scene.render.filepath = path
        bpy.ops.render.render(write_still=True)
        from render.core.image_io import read_image

        return np.ascontiguousarray(read_image(path), dtype=np.float32)


def _plain_cycles(scene, samples: int, seed: int) -> None:
    """Nothing but samples: no denoiser, clamp, early stop or pixel filter; one bounce is all a convex body needs."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples, cycles.seed = samples, seed
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.sample_clamp_direct = cycles.sample_clamp_indirect = 0.0
    cycles.max_bounces = 2
    cycles.blur_glossy = 0.0
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 0.01
    render = scene.render
    render.resolution_percentage = 100
    render.film_transparent = True
    render.use_compositing = render.use_sequencer = False
    render.dither_intensity = 0.0
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
    scene.view_settings.view_transform = "Raw"


def _world(bpy, environment: np.ndarray | None, folder: Path):
    from render.core.image_io import write_image

    world = bpy.data.worlds.new("World")
    if not world.use_nodes:
        world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    background = tree.nodes.new("ShaderNodeBackground")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    output = tree.nodes.new("ShaderNodeOutputWorld")
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    if environment is not None:
        path = folder / "environment.exr"
        write_image(path, environment)
        texture = tree.nodes.new("ShaderNodeTexEnvironment")
        texture.image = bpy.data.images.load(str(path))
        tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    return world


def _place(bpy, scene, grid: SphereGrid, distribution: str, change: Callable[[Any, int, int], None] | None) -> None:
    from mathutils import Matrix

    right, up, eye = _camera_axes()
    rows, columns = len(grid.metallic), len(grid.roughness)
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=7, radius=1.0)
    first = bpy.context.object
    bpy.ops.object.shade_smooth()
    mesh = first.data
    bpy.data.objects.remove(first)
    for row, metallic in enumerate(grid.metallic):
        for column, roughness in enumerate(grid.roughness):
            sphere = bpy.data.objects.new("Sphere", mesh)
            scene.collection.objects.link(sphere)
            x, y = column - (columns - 1) / 2, (rows - 1) / 2 - row
            sphere.location = SPACING * (x * right + y * up)
            sphere.visible_glossy = sphere.visible_diffuse = sphere.visible_shadow = False
            if not mesh.materials:
                mesh.materials.append(None)
            sphere.material_slots[0].link = "OBJECT"
            material = _material(bpy, grid.base_color, roughness, metallic, distribution)
            sphere.material_slots[0].material = material
            if change is not None:
                change(material.node_tree.nodes["Principled BSDF"].inputs, row, column)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.data.type = "ORTHO"
    camera.data.sensor_fit = "HORIZONTAL"
    camera.data.ortho_scale = SPACING * columns
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = right, up, eye, 10 * eye
    camera.matrix_world = Matrix(matrix.tolist())


def _material(bpy, base_color: tuple, roughness: float, metallic: float, distribution: str):
    material = bpy.data.materials.new("Material")
    if not material.use_nodes:
        material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.distribution = distribution
    shader.inputs["Base Color"].default_value = (*base_color, 1.0)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    return material


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Blender writes its progress to the process's own standard output and error: into a file nobody reads."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with open(os.devnull, "w") as nowhere:
        try:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
