"""What Cycles makes of a world, with nothing of the add-on: the truth for worlds and images in any color configuration."""

from __future__ import annotations

import math
import os
import tempfile

import bpy
import numpy as np
from support.blender.scenes import use_nodes

# The names in Blender's own configurations, and in those of ACES.
DATA = ("Non-Color", "Raw")
LINEAR_REC709 = ("Linear Rec.709", "Linear Rec.709 (sRGB)")
SRGB = ("sRGB", "sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)")


def space(names: tuple[str, ...]) -> str:
    """The first of these color spaces that there is."""
    there = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    return next(name for name in names if name in there)


def pixels_of(image: bpy.types.Image) -> np.ndarray:
    """float32 [h, w, 4], row 0 at the top, as Blender gives them."""
    width, height = image.size
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, image.channels)[::-1]


def panorama(world: bpy.types.World, width: int, height: int, color_space: str = "") -> np.ndarray:
    """The world as Cycles renders it, float32 [h, w, 3], row 0 at the top, in linear Rec.709 or another color space."""
    scene = bpy.data.scenes.new("Panorama")
    camera = bpy.data.objects.new("Panorama", bpy.data.cameras.new("Panorama"))
    try:
        scene.world, scene.camera = world, camera
        scene.collection.objects.link(camera)
        camera.data.type = "PANO"
        panoramic = camera.data if hasattr(camera.data, "panorama_type") else camera.data.cycles
        panoramic.panorama_type = "EQUIRECTANGULAR"
        camera.rotation_euler = (math.pi / 2, 0.0, -math.pi / 2)
        scene.render.engine = "CYCLES"
        scene.cycles.samples = 1
        scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
        scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BOX", 0.01
        scene.render.resolution_x, scene.render.resolution_y = width, height
        scene.render.dither_intensity = 0.0
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
        settings.exr_codec = "NONE"
        settings.color_management = "OVERRIDE"
        settings.linear_colorspace_settings.name = color_space or space(LINEAR_REC709)
        with tempfile.TemporaryDirectory() as folder:
            scene.render.filepath = os.path.join(folder, "panorama.exr")
            bpy.ops.render.render(scene=scene.name, write_still=True)
            image = bpy.data.images.load(scene.render.filepath)
            image.colorspace_settings.name = space(DATA)
            found = pixels_of(image)[..., :3].copy()
            bpy.data.images.remove(image)
        return found
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(camera)


def image_world(image: bpy.types.Image) -> bpy.types.World:
    """A new world that shows an image, and nothing else."""
    world = bpy.data.worlds.new("Image")
    use_nodes(world)
    tree = world.node_tree
    tree.nodes.clear()
    output, background, texture = (
        tree.nodes.new(f"ShaderNode{kind}") for kind in ("OutputWorld", "Background", "TexEnvironment")
    )
    texture.image = image
    world.cycles.sampling_method = "NONE"  # the map of what is bright takes seconds, and a panorama needs none
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    return world
