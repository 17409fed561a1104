"""The same scene by Cycles and by our renderer: built in Blender, passed on only by the installed exporter."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import bpy
import numpy as np
import torch
import torch.nn.functional as F
from support.blender.scenes import TIMEOUT_S, use_nodes

from render.core.color import psnr
from render.core.image_io import write_image
from render.geometry.camera import Camera
from render.geometry.mesh import Mesh, mesh_from_arrays
from render.images.render_mesh import render_mesh
from render.light.environment import PrefilteredLight, env_from_latlong
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps

SIZE = 96
LIGHT_RESOLUTION = 256
SAMPLES_ALONG_A_PIXEL = 3
SILHOUETTE_PX = 3
"""Pixels within this distance of the background are not compared: there the view is grazing, and edges are mixed."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One object from several cameras: what Cycles made of it, and all our renderer needs to do the same.

    cycles: [N, H, W, 4]; inside: bool [N, H, W], pixels away from the silhouette; environment: [h, w, 3] as exported
    """

    cycles: torch.Tensor
    inside: torch.Tensor
    mesh: Mesh
    cameras: list[Camera]
    environment: torch.Tensor
    light: PrefilteredLight

    def ours(self, maps: MaterialMaps, mesh: Mesh | None = None, light: PrefilteredLight | None = None) -> torch.Tensor:
        """Our render of the same views, [N, H, W, 4]; of another mesh or in another light if given."""
        with torch.no_grad():
            return render_mesh(
                self.mesh if mesh is None else mesh,
                self.cameras,
                maps,
                self.light if light is None else light,
                (SIZE, SIZE),
                spp=SAMPLES_ALONG_A_PIXEL,
            )["shaded"]

    def difference(self, image: torch.Tensor) -> torch.Tensor:
        """Radiance of an image [N, H, W, 4] minus Cycles', at the inner pixels of all views: [P, 3]."""
        return (image - self.cycles)[self.inside][:, :3]

    def psnr(self, image: torch.Tensor, block: int = 1) -> float:
        """In sRGB, dB, of all views' inner pixels; of means of `block` x `block` pixels if noise would dominate."""

        def mean(values: torch.Tensor) -> torch.Tensor:
            return F.avg_pool2d(values.permute(0, 3, 1, 2), block).permute(0, 2, 3, 1)

        inside = mean(self.inside[..., None].float())[..., 0] == 1
        return psnr(mean(image)[inside][:, :3], mean(self.cycles)[inside][:, :3])


def light_of(environment: torch.Tensor) -> PrefilteredLight:
    """Our light from an equirectangular image [h, w, 3]."""
    with torch.no_grad():
        return env_from_latlong(environment, LIGHT_RESOLUTION).build_mips()


def compare(
    addon, directory: Path, objects: list[bpy.types.Object], views: int = 1, samples: int = 64
) -> list[Comparison]:
    """Export the objects and the world of the scene, and render each object alone with Cycles -> Comparison for each."""
    scene = bpy.context.scene
    bpy.context.view_layer.update()
    environment = torch.from_numpy(addon.export.world.export_world(scene.world))
    light = light_of(environment)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    exports = [addon.export.mesh.export_mesh(scene_object, depsgraph) for scene_object in objects]
    cameras = [_views(addon, export, number * views, views) for number, export in enumerate(exports)]
    copy = addon.references.copied_file.save_copy(directory / "copy").path
    plans = [
        {
            "blend": str(copy),
            "scene": scene.name,
            "view_layer": bpy.context.view_layer.name,
            "objects": [[scene_object.name, None]],
            "size": SIZE,
            "samples": samples,
            "output": str(directory),
            "views": [view.for_blender() for view in planned],
        }
        for scene_object, planned in zip(objects, cameras, strict=True)
    ]
    images = _render_with_cycles(addon, {**plans[0], "plans": plans[1:]}, directory)
    return [
        _comparison(torch.stack([images[view.index] for view in planned]), export, planned, environment, light)
        for export, planned in zip(exports, cameras, strict=True)
    ]


def _views(addon, export, first: int, count: int) -> list:
    """`count` cameras of the exporter's own plan, numbered from `first`: above and below, none along an axis."""
    center, radius = addon.references.views.bounding_sphere(export.world_positions)
    planned = addon.references.views.plan_views(center, radius, training=7, held_out=0, seed=1)[1 : 1 + 2 * count : 2]
    return [dataclasses.replace(view, index=first + number) for number, view in enumerate(planned)]


def _render_with_cycles(addon, plan: dict, directory: Path) -> dict[int, torch.Tensor]:
    wanted = sum(len(item["views"]) for item in [plan, *plan["plans"]])
    renderer = addon.references.process.ReferenceRenderer(plan, directory)
    images: dict[int, torch.Tensor] = {}
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while len(images) < wanted:
            assert time.monotonic() < deadline, "the second Blender did not finish"
            images |= {finished.index: torch.from_numpy(finished.image) for finished in renderer.poll()}
            time.sleep(0.02)
    finally:
        renderer.stop()
    return images


def _comparison(
    cycles: torch.Tensor, export, planned: list, environment: torch.Tensor, light: PrefilteredLight
) -> Comparison:
    exported = [view.for_renderer() for view in planned]
    outside = (cycles[..., 3] < 1).float()[:, None]
    reach = 2 * SILHOUETTE_PX + 1
    return Comparison(
        cycles=cycles,
        inside=F.max_pool2d(outside, reach, stride=1, padding=SILHOUETTE_PX)[:, 0] == 0,
        mesh=mesh_from_arrays(export.arrays),
        cameras=[Camera(torch.tensor(view["view"]), torch.tensor(view["projection"])) for view in exported],
        environment=environment,
        light=light,
    )


def direction_world(directory: Path, rotation: tuple | None = None) -> None:
    """The scene's world: an image whose color is the direction it is looked up in, 0.5 + 0.5 d, x y z as R G B.

    Smooth, so that neither noise nor filtering shows, and different in every direction. Blender's axes and mapping.
    """
    width, height = 1024, 512
    azimuth = 2 * math.pi * (0.5 - (np.arange(width) + 0.5) / width)
    elevation = math.pi * (0.5 - (np.arange(height) + 0.5) / height)
    flat = np.cos(elevation)[:, None]
    upward = np.broadcast_to(np.sin(elevation)[:, None], (height, width))
    direction = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), upward], axis=-1)
    path = directory / "direction.exr"
    write_image(path, (0.5 + 0.5 * direction).astype(np.float32))
    image_world(str(path), rotation)


def image_world(path: str, rotation: tuple | None = None) -> None:
    """The scene's new world: an environment image, turned by a Mapping node if a rotation is given."""
    world = bpy.data.worlds.new("World")
    use_nodes(world)
    tree = world.node_tree
    tree.nodes.clear()
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = bpy.data.images.load(path)
    background = tree.nodes.new("ShaderNodeBackground")
    output = tree.nodes.new("ShaderNodeOutputWorld")
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    if rotation is not None:
        coordinates = tree.nodes.new("ShaderNodeTexCoord")
        mapping = tree.nodes.new("ShaderNodeMapping")
        mapping.inputs["Rotation"].default_value = rotation
        tree.links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
        tree.links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
    bpy.context.scene.world = world


def add_ball() -> bpy.types.Object:
    """A smooth UV sphere, off the origin."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=96, ring_count=48, location=(0.5, -1.0, 2.0))
    bpy.ops.object.shade_smooth()
    return bpy.context.object


def add_mirrored_ball(location: tuple, rotation: tuple, scale: tuple) -> bpy.types.Object:
    """A smooth sphere whose halves share one round UV island: right way round for x > 0, mirrored for x < 0.

    Distances from the island's center are arcs on the ball, so nothing is stretched at its rim.
    """
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=5, location=location, rotation=rotation)
    bpy.ops.object.shade_smooth()
    scene_object = bpy.context.object
    scene_object.scale = scale
    mesh = scene_object.data
    corner_vertex = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", corner_vertex)
    position = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", position)
    x, y, z = position.reshape(-1, 3)[corner_vertex].T
    radius = np.hypot(y, z)
    arc = np.arctan2(radius, np.abs(x)) / (math.pi / 2)
    scale_of_uv = 0.45 * arc / np.maximum(radius, 1e-6)
    uv = np.stack([0.5 + scale_of_uv * y, 0.5 + scale_of_uv * z], axis=1)
    mesh.uv_layers.active.uv.foreach_set("vector", uv.astype(np.float32).ravel())
    return scene_object


def add_material(
    scene_object: bpy.types.Object,
    roughness: float,
    metallic: float = 0.0,
    base_color: tuple | str = (1.0, 1.0, 1.0),
    normal_map: str | None = None,
) -> None:
    """A Principled BSDF with everything else at its default; `base_color` may be the path of an sRGB image."""
    material = bpy.data.materials.new("Material")
    use_nodes(material)
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    if isinstance(base_color, str):
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image = bpy.data.images.load(base_color)
        tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    else:
        shader.inputs["Base Color"].default_value = (*base_color, 1.0)
    if normal_map is not None:
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image = bpy.data.images.load(normal_map)
        texture.image.colorspace_settings.name = "Non-Color"
        node = tree.nodes.new("ShaderNodeNormalMap")
        tree.links.new(texture.outputs["Color"], node.inputs["Color"])
        tree.links.new(node.outputs["Normal"], shader.inputs["Normal"])
    scene_object.data.materials.append(material)


def material_maps(
    roughness: float,
    metallic: float = 0.0,
    base_color: tuple | torch.Tensor = (1.0, 1.0, 1.0),
    normal: torch.Tensor | None = None,
) -> MaterialMaps:
    """The same as textures; `base_color` linear and `normal` decoded may be [R, R, 3]."""
    given = [value for value in (base_color, normal) if isinstance(value, torch.Tensor)]
    resolution = given[0].shape[0] if given else 4
    texels = torch.zeros(resolution, resolution, NORMAL.stop)
    texels[..., KD] = torch.as_tensor(base_color)
    texels[..., ROUGHNESS] = roughness
    texels[..., METALLIC] = metallic
    texels[..., NORMAL] = torch.tensor([0.0, 0.0, 1.0]) if normal is None else normal
    return MaterialMaps(texels)
