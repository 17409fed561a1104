"""Scenes for the tests, each made in a Blender of its own: ``python blend_scenes.py NAME FOLDER`` saves it there."""

import math
import os
import sys
from pathlib import Path

import bpy
import numpy as np


def emission(name: str, colour: tuple[float, float, float], opacity: float = 1.0) -> bpy.types.Material:
    """A material that shines evenly, mixed with transparency."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    shine, clear = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeBsdfTransparent")
    mix, output = nodes.new("ShaderNodeMixShader"), nodes.new("ShaderNodeOutputMaterial")
    shine.inputs["Color"].default_value = (*colour, 1.0)
    mix.inputs[0].default_value = opacity
    links.new(clear.outputs[0], mix.inputs[1])
    links.new(shine.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], output.inputs["Surface"])
    return material


def diffuse(albedo: float) -> bpy.types.Material:
    """A matt material."""
    material = bpy.data.materials.new("Matt")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    shader, output = nodes.new("ShaderNodeBsdfDiffuse"), nodes.new("ShaderNodeOutputMaterial")
    shader.inputs["Color"].default_value = (albedo,) * 3 + (1.0,)
    links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def add_mesh(name: str, corners: list, faces: list) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners, [], faces)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def board(_folder: Path) -> None:
    """A board in the plane y = 0 that faces -Y, from -1 to 1: above red at half strength; below left matt with albedo
    0.5, below right blue and half transparent. A white world; a lamp and a wall before the board must not be seen.
    """
    board = add_mesh(
        "Board",
        [(x, 0.0, z) for z in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)],
        [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)],
    )
    for material in (diffuse(0.5), emission("Blue", (0.0, 0.0, 1.0), 0.5), emission("Red", (0.5, 0.0, 0.0))):
        board.data.materials.append(material)
    board.data.polygons.foreach_set("material_index", [0, 1, 2, 2])
    wall = add_mesh("Wall", [(-9, -2, -9), (9, -2, -9), (9, -2, 9), (-9, -2, 9)], [(0, 1, 2, 3)])
    wall.data.materials.append(emission("Green", (0.0, 1.0, 0.0)))
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "SUN"))
    lamp.data.energy = 50.0
    lamp.rotation_euler = (math.radians(90.0), 0.0, 0.0)
    bpy.context.scene.collection.objects.link(lamp)
    scene = bpy.context.scene
    scene.world = plain_world((1.0, 1.0, 1.0))
    # None of these may change what is rendered.
    scene.render.use_border = True
    scene.render.resolution_percentage = 50
    scene.cycles.film_exposure = 3.0
    scene.view_settings.exposure = 2.0
    board.hide_render = True


def subdivided(_folder: Path) -> None:
    """A cube that the viewport shows unsubdivided and a render would round off."""
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    modifier = cube.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels, modifier.render_levels = 0, 3
    cube.data.materials.append(emission("White", (1.0, 1.0, 1.0)))
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def hdri(folder: Path) -> None:
    """The board under the city HDRI that ships with Blender; its pixels go to hdri.npy, row 0 at the top."""
    board(folder)
    world = plain_world((0.0, 0.0, 0.0))
    image = bpy.data.images.load(bpy.utils.system_resource("DATAFILES") + "/studiolights/world/city.exr")
    texture = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = image
    world.node_tree.links.new(texture.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    bpy.context.scene.world = world
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    np.save(folder / "hdri.npy", pixels.reshape(height, width, 4)[::-1, :, :3])


def camera_ray_world(folder: Path) -> None:
    """A world that lights in red and shows the camera green, as many artists have it, inside a node group."""
    board(folder)
    world = plain_world((0.0, 0.0, 0.0))
    group = bpy.data.node_groups.new("Backdrop", "ShaderNodeTree")
    group.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    path, mix = group.nodes.new("ShaderNodeLightPath"), group.nodes.new("ShaderNodeMixRGB")
    output = group.nodes.new("NodeGroupOutput")
    mix.inputs[1].default_value, mix.inputs[2].default_value = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)
    group.links.new(path.outputs["Is Camera Ray"], mix.inputs[0])
    group.links.new(mix.outputs[0], output.inputs[0])
    node = world.node_tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    world.node_tree.links.new(node.outputs[0], world.node_tree.nodes["Background"].inputs["Color"])
    bpy.context.scene.world = world


def plain_world(colour: tuple[float, float, float]) -> bpy.types.World:
    world = bpy.data.worlds.new("World")
    world.use_nodes = True
    nodes = world.node_tree.nodes
    nodes.clear()
    background, output = nodes.new("ShaderNodeBackground"), nodes.new("ShaderNodeOutputWorld")
    background.name = "Background"
    background.inputs["Color"].default_value = (*colour, 1.0)
    world.node_tree.links.new(background.outputs[0], output.inputs["Surface"])
    return world


SCENES = {scene.__name__: scene for scene in (board, subdivided, hdri, camera_ray_world)}

if __name__ == "__main__":
    name, target = sys.argv[1], Path(sys.argv[2])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.name = "Stage"
    SCENES[name](target)
    bpy.ops.wm.save_as_mainfile(filepath=str(target / f"{name}.blend"))
    sys.stdout.flush()
    os._exit(0)
