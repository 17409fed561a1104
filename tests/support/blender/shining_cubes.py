"""Cubes that show one color from every side, and what the second Blender makes of them."""

from __future__ import annotations

import bpy
import numpy as np
from support.blender import reference_process
from support.blender.scenes import add_cube, use_nodes

COLOR = (0.1, 0.25, 0.5)
OTHER = (0.9, 0.8, 0.0)


def shining(name: str, color: tuple[float, float, float] = COLOR):
    """A material that shows one color from every side, whatever the light is."""
    material = bpy.data.materials.new(name)
    use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    emission.inputs["Color"].default_value = (*color, 1.0)
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def named_cube(name: str):
    scene_object = add_cube()
    scene_object.name = name
    return scene_object


def cube(name: str = "Thing", material=None):
    thing = named_cube(name)
    thing.data.materials.append(material or shining("Paint"))
    return thing


def geometry_modifier(scene_object):
    """A new Geometry Nodes modifier: its tree, and the group's input and output, which are not linked."""
    tree = bpy.data.node_groups.new("Geometry", "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    scene_object.modifiers.new("Geometry", "NODES").node_group = tree
    return tree, tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")


def references_of(addon, directory, thing=None, **changes):
    """What a click on an object, if it is not the only one selected, gets from the second Blender."""
    if thing is not None:
        for item in bpy.context.scene.objects:
            item.select_set(item == thing)
        bpy.context.view_layer.objects.active = thing
    return reference_process.references_of(addon, directory, **changes)


def colors(image: np.ndarray) -> np.ndarray:
    """The distinct colors of the opaque pixels of an image, float64 [colors, 3], to two decimals."""
    return np.unique(image[image[..., 3] > 0.999][:, :3].astype(np.float64).round(2), axis=0)


def shows_only_the_color(delivered) -> bool:
    return all(colors(image).tolist() == [[0.1, 0.25, 0.5]] for image in delivered.images.values())


def widths(delivered) -> np.ndarray:
    """How wide the exported mesh is along the renderer's axes [3]."""
    positions = delivered.arrays["vertex_position"]
    return positions.max(axis=0) - positions.min(axis=0)
