# SPDX-License-Identifier: GPL-3.0-or-later
"""The node trees that PBRfit makes, laid out so that a person can read them from left to right."""

from __future__ import annotations

import bpy

from . import geometry_output, gltf_output
from .material_recipe import ALPHA, CHANNELS, COLOR, MAP_LABELS, NORMAL, OCCLUSION, Constant, MapInput, MaterialRecipe

MAP_X, SPLIT_X, SHADER_X, OUTPUT_X = -700.0, -360.0, 0.0, 320.0
ROW_HEIGHT = 310.0
NODE_LABELS = {
    **MAP_LABELS,
    "orm": "Openness, Roughness, Metallic",
    "normal": "Normal Map Image",
    "geometry": "Height, Curvature, Thickness",
}


def fresh_tree(owner: bpy.types.Material | bpy.types.World) -> bpy.types.NodeTree:
    """The node tree of a new material or world, without nodes."""
    if bpy.app.version < (5, 0, 0):
        owner.use_nodes = True
    owner.node_tree.nodes.clear()
    return owner.node_tree


def add_node(tree: bpy.types.NodeTree, kind: str, label: str, x: float, y: float) -> bpy.types.Node:
    """A new node at (x, y); `label` is also its name."""
    node = tree.nodes.new(kind)
    node.name = node.label = label
    node.location = (x, y)
    return node


def build_material_nodes(
    material: bpy.types.Material, recipe: MaterialRecipe, images: dict[str, bpy.types.Image], uv_map: str
) -> None:
    """Build a Principled BSDF that gets what the recipe says from the maps in `images`, read through the UV map `uv_map`.

    ORM is glTF's: its red is openness (ambient occlusion). No input of Principled BSDF takes it, so it goes to the group that
    Blender's glTF exporter reads, which changes no render.
    """
    tree = fresh_tree(material)
    output = add_node(tree, "ShaderNodeOutputMaterial", "Material Output", OUTPUT_X, 0.0)
    shader = add_node(tree, "ShaderNodeBsdfPrincipled", "Fitted Material", SHADER_X, 0.0)
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    for path, value in recipe.settings.items():
        part, _, name = path.rpartition(".")
        setattr(getattr(material, part) if part else material, name, value)
    for name, value in recipe.properties.items():
        setattr(shader, name, value)
    inputs = {socket.identifier: socket for socket in shader.inputs}
    if OCCLUSION in recipe.inputs:
        further = add_node(tree, "ShaderNodeGroup", gltf_output.NAME, SHADER_X, -2.0 * ROW_HEIGHT)
        further.node_tree = gltf_output.output_group()
        inputs[OCCLUSION] = further.inputs[gltf_output.OCCLUSION]
    if any(name in recipe.inputs for name in geometry_output.GEOMETRY):
        further = add_node(tree, "ShaderNodeGroup", geometry_output.NAME, SHADER_X, -2.5 * ROW_HEIGHT)
        further.node_tree = geometry_output.geometry_group()
        inputs |= {socket.name: socket for socket in further.inputs}
    for name, value in recipe.constants.items():
        set_value(inputs[name], value)
    if recipe.uv_tangent:
        tangent = add_node(tree, "ShaderNodeTangent", "Tangent", SPLIT_X, ROW_HEIGHT)
        tangent.direction_type, tangent.uv_map = "UV_MAP", uv_map
        tree.links.new(tangent.outputs["Tangent"], inputs["Tangent"])
    if not recipe.inputs:
        return
    coordinates = add_node(tree, "ShaderNodeUVMap", f"UV Map: {uv_map}", MAP_X - 260.0, -ROW_HEIGHT)
    coordinates.uv_map = uv_map
    frame = tree.nodes.new("NodeFrame")
    frame.name = frame.label = "Maps by PBRfit"
    textures: dict[str, bpy.types.Node] = {}
    for row, key in enumerate(recipe.keys):
        node = add_node(tree, "ShaderNodeTexImage", NODE_LABELS[key], MAP_X, -row * ROW_HEIGHT)
        node.image = images[key]
        node.width = 280.0
        node.parent = frame
        tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
        textures[key] = node
    between: dict[str, bpy.types.Node] = {}
    for name, item in recipe.inputs.items():
        texture, y = textures[item.key], -recipe.keys.index(item.key) * ROW_HEIGHT
        if item.part in (COLOR, ALPHA):
            source = texture.outputs["Color" if item.part == COLOR else "Alpha"]
        else:
            if item.key not in between:
                if item.part == NORMAL:
                    between[item.key] = normal_map(tree, item.key, texture, uv_map, y)
                else:
                    occluded = recipe.inputs.get(OCCLUSION) == MapInput(item.key, CHANNELS[0])
                    between[item.key] = split_channels(tree, item.key, texture, occluded, y)
            source = between[item.key].outputs["Normal" if item.part == NORMAL else item.part.capitalize()]
        tree.links.new(source, inputs[name])


def set_value(socket: bpy.types.NodeSocket, value: Constant) -> None:
    """Give an input its own value; a color keeps its alpha."""
    if isinstance(value, tuple):
        socket.default_value[: len(value)] = value
    else:
        socket.default_value = value


def split_channels(
    tree: bpy.types.NodeTree, key: str, texture: bpy.types.Node, occluded: bool, y: float
) -> bpy.types.Node:
    """A node that splits a map into its channels. occluded: whether red is openness."""
    label = gltf_output.OPENNESS_NODE if occluded else f"{MAP_LABELS[key]} Channels"
    node = add_node(tree, "ShaderNodeSeparateColor", label, SPLIT_X, y)
    node.mode = "RGB"
    tree.links.new(texture.outputs["Color"], node.inputs["Color"])
    return node


def normal_map(tree: bpy.types.NodeTree, key: str, texture: bpy.types.Node, uv_map: str, y: float) -> bpy.types.Node:
    """A node that turns a map of normals in tangent space into normals."""
    node = add_node(tree, "ShaderNodeNormalMap", "Normal Map" if key == "normal" else MAP_LABELS[key], SPLIT_X, y)
    node.space = "TANGENT"
    node.uv_map = uv_map
    tree.links.new(texture.outputs["Color"], node.inputs["Color"])
    return node


def build_world_nodes(world: bpy.types.World, image: bpy.types.Image, label: str) -> None:
    """Build World Output <- Background <- Environment Texture with `image`; `label` is that of the texture."""
    tree = fresh_tree(world)
    output = add_node(tree, "ShaderNodeOutputWorld", "World Output", 300.0, 0.0)
    background = add_node(tree, "ShaderNodeBackground", "Background", 80.0, 0.0)
    texture = add_node(tree, "ShaderNodeTexEnvironment", label, -260.0, 0.0)
    texture.image = image
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
