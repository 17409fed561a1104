"""What the scenes are built from: painted objects, images with known colors, worlds, and geometry node groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

FLAT = (0.1, 0.25, 0.5)
"""A linear base color that no default has."""

Build = Callable[[bpy.types.NodeTree, Any, Any], Any]


def grid_pixels(seed: int = 1, cells: int = 8, size: int = 256) -> NDArray[np.float32]:
    """Cells of known sRGB colors, float32 [size, size, 4], row 0 at the bottom."""
    colors = np.random.default_rng(seed).uniform(0.25, 0.75, (cells, cells, 3)).round(2)
    pixels = np.ones((size, size, 4), np.float32)
    pixels[..., :3] = np.repeat(np.repeat(colors, size // cells, 0), size // cells, 1)
    return pixels


def flat_pixels(linear: tuple[float, float, float], size: int = 256) -> NDArray[np.float32]:
    """One linear color as sRGB, float32 [size, size, 4]."""
    color = np.array(linear)
    pixels = np.ones((size, size, 4), np.float32)
    pixels[..., :3] = np.where(color <= 0.0031308, 12.92 * color, 1.055 * color ** (1 / 2.4) - 0.055)
    return pixels


def image_of(pixels: NDArray[np.float32], name: str = "Grid") -> bpy.types.Image:
    """A packed 8-bit image of these pixels [H, W, 4]."""
    image = bpy.data.images.new(name, pixels.shape[1], pixels.shape[0], alpha=True)
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    return image


def nodes_of(owner: bpy.types.Material | bpy.types.World) -> bpy.types.NodeTree:
    """The node tree of a material or a world; it gets one where it has none."""
    if owner.node_tree is None or (bpy.app.version < (5, 0, 0) and not owner.use_nodes):
        owner.use_nodes = True
    return owner.node_tree


def painted(
    thing: bpy.types.Object, name: str = "Paint", color: tuple[float, float, float] = FLAT
) -> bpy.types.Material:
    """A new material of one color in a new slot of the object."""
    material = bpy.data.materials.new(name)
    shader = next((node for node in nodes_of(material).nodes if node.type == "BSDF_PRINCIPLED"), None)
    if shader is not None:  # a volume's new material has another one
        shader.inputs["Base Color"].default_value = (*color, 1.0)
        shader.inputs["Roughness"].default_value = 0.6
    thing.data.materials.append(material)
    return material


def textured(thing: bpy.types.Object, image: bpy.types.Image | None = None, name: str = "Paint") -> bpy.types.Material:
    """A new material whose base color is an image, in a new slot of the object."""
    material = painted(thing, name)
    tree = nodes_of(material)
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image or image_of(grid_pixels())
    texture.interpolation = "Closest"
    tree.links.new(texture.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material


def sphere(name: str = "Thing", segments: int = 32, rings: int = 16) -> bpy.types.Object:
    """A smooth sphere with UVs over the whole square: active and selected."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=segments, ring_count=rings)
    bpy.ops.object.shade_smooth()
    bpy.context.object.name = name
    return bpy.context.object


def grid(name: str = "Thing", cuts: int = 16) -> bpy.types.Object:
    """A flat sheet of `cuts` x `cuts` faces with UVs over the whole square: active and selected."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=cuts, y_subdivisions=cuts)
    bpy.context.object.name = name
    return bpy.context.object


def shipped_hdri(name: str = "forest") -> bpy.types.Image:
    """One of the environment images that every Blender has."""
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    return bpy.data.images.load(f"{folder}/{name}.exr")


def image_world(image: bpy.types.Image, name: str = "World", scene: bpy.types.Scene | None = None) -> bpy.types.World:
    """A world that an image lights, for a scene (default: the open one)."""
    world = bpy.data.worlds.new(name)
    tree = nodes_of(world)
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = image
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    (scene or bpy.context.scene).world = world
    return world


def forest(scene: bpy.types.Scene | None = None) -> bpy.types.World:
    """A world of the forest that Blender brings along."""
    return image_world(shipped_hdri(), "Forest", scene)


def node_group(name: str, build: Build) -> bpy.types.NodeTree:
    """A group of geometry nodes; `build` gets the tree and the sockets of the geometry that comes in and that goes out."""
    tree = bpy.data.node_groups.new(name, "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    build(tree, start.outputs[0], end.inputs[0])
    return tree


def add_nodes(thing: bpy.types.Object, name: str, build: Build) -> bpy.types.Modifier:
    """Give the object a modifier with geometry nodes; see `node_group`."""
    modifier = thing.modifiers.new(name, "NODES")
    modifier.node_group = node_group(name, build)
    return modifier
