# SPDX-License-Identifier: GPL-3.0-or-later
"""The node trees that PBRfit makes, laid out so that a person can read them from left to right."""

from __future__ import annotations

import bpy

MAP_X, SPLIT_X, SHADER_X, OUTPUT_X = -700.0, -360.0, 0.0, 320.0
ROW_HEIGHT = 310.0


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
    material: bpy.types.Material, images: dict[str, bpy.types.Image], uv_map: str, alpha: bool
) -> None:
    """Build a Principled BSDF with the given maps (of kd, orm, normal), read through the UV map `uv_map`.

    ORM is glTF's: its red is openness (ambient occlusion). No input of Principled BSDF takes it, so it stays in the
    tree with a label and without a link.
    """
    tree = fresh_tree(material)
    output = add_node(tree, "ShaderNodeOutputMaterial", "Material Output", OUTPUT_X, 0.0)
    shader = add_node(tree, "ShaderNodeBsdfPrincipled", "Fitted Material", SHADER_X, 0.0)
    shader.distribution = "MULTI_GGX"
    shader.inputs["IOR"].default_value = 1.5
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    coordinates = add_node(tree, "ShaderNodeUVMap", f"UV Map: {uv_map}", MAP_X - 260.0, -ROW_HEIGHT)
    coordinates.uv_map = uv_map

    frame = tree.nodes.new("NodeFrame")
    frame.name = frame.label = "Maps by PBRfit"
    texture_nodes: dict[str, bpy.types.Node] = {}
    labels = {"kd": "Base Color", "orm": "Openness, Roughness, Metallic", "normal": "Normal Map Image"}
    for row, (key, label) in enumerate(labels.items()):
        if key in images:
            node = add_node(tree, "ShaderNodeTexImage", label, MAP_X, -row * ROW_HEIGHT)
            node.image = images[key]
            node.width = 280.0
            node.parent = frame
            tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
            texture_nodes[key] = node

    tree.links.new(texture_nodes["kd"].outputs["Color"], shader.inputs["Base Color"])
    if alpha:
        tree.links.new(texture_nodes["kd"].outputs["Alpha"], shader.inputs["Alpha"])
    if "orm" in texture_nodes:
        split = add_node(tree, "ShaderNodeSeparateColor", "Red: Openness (AO)", SPLIT_X, -ROW_HEIGHT)
        split.mode = "RGB"
        tree.links.new(texture_nodes["orm"].outputs["Color"], split.inputs["Color"])
        tree.links.new(split.outputs["Green"], shader.inputs["Roughness"])
        tree.links.new(split.outputs["Blue"], shader.inputs["Metallic"])
    if "normal" in texture_nodes:
        normal = add_node(tree, "ShaderNodeNormalMap", "Normal Map", SPLIT_X, -2.0 * ROW_HEIGHT)
        normal.space = "TANGENT"
        normal.uv_map = uv_map
        tree.links.new(texture_nodes["normal"].outputs["Color"], normal.inputs["Color"])
        tree.links.new(normal.outputs["Normal"], shader.inputs["Normal"])


def build_world_nodes(world: bpy.types.World, image: bpy.types.Image, label: str) -> None:
    """Build World Output <- Background <- Environment Texture with `image`; `label` is that of the texture."""
    tree = fresh_tree(world)
    output = add_node(tree, "ShaderNodeOutputWorld", "World Output", 300.0, 0.0)
    background = add_node(tree, "ShaderNodeBackground", "Background", 80.0, 0.0)
    texture = add_node(tree, "ShaderNodeTexEnvironment", label, -260.0, 0.0)
    texture.image = image
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
