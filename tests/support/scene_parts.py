"""What the scenes for the tests are made of: materials, meshes, worlds and trees of geometry nodes."""

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


def painted(name: str, colors: np.ndarray) -> bpy.types.Material:
    """A Principled BSDF whose base color is these colors [H, W, 3], sRGB, from the bottom up, without anything in between."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = bpy.data.images.new(f"{name} Colors", *colors.shape[1::-1])
    texture.interpolation = "Closest"
    opaque = np.concatenate([colors, np.ones((*colors.shape[:2], 1))], axis=-1)
    texture.image.pixels.foreach_set(opaque.astype(np.float32).ravel())
    texture.image.pack()
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    return material


def add_mesh(name: str, corners: list, faces: list) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners, [], faces)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


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


def plain_board(name: str, material: bpy.types.Material, half: float = 1.0, y: float = 0.0) -> bpy.types.Object:
    """A square in the plane y that faces -Y, from -half to half."""
    corners = [(-half, y, -half), (half, y, -half), (half, y, half), (-half, y, half)]
    thing = add_mesh(name, corners, [(0, 1, 2, 3)])
    thing.data.materials.append(material)
    return thing


def geometry_nodes(thing: bpy.types.Object) -> tuple[bpy.types.NodeTree, bpy.types.Node, bpy.types.Node]:
    """A new tree as a modifier of the object; also its input and its output, which are not linked yet."""
    tree = bpy.data.node_groups.new("Geometry", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    thing.modifiers.new("Geometry", "NODES").node_group = tree
    return tree, tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
