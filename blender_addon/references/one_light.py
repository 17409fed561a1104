# SPDX-License-Identifier: GPL-3.0-or-later
"""Worlds that show one thing to the camera and light with another, or light by kind of ray, as one light without fog.

A fit knows one light, so the references are lit by the same one: what a diffuse ray sees.
"""

from __future__ import annotations

import bpy

# The outputs of the node Light Path for a diffuse ray that leaves a surface which the camera sees.
SEEN_BY_A_DIFFUSE_RAY = {
    "Is Diffuse Ray": 1.0,
    "Is Reflection Ray": 1.0,
    "Ray Depth": 1.0,
    "Diffuse Depth": 1.0,
}


def with_one_light(world: bpy.types.World) -> bpy.types.World:
    """A copy of a world that lights every ray alike, shows to every ray and has no volume."""
    world = world.copy()
    visible = getattr(world, "cycles_visibility", None)
    for name in ("camera", "diffuse", "glossy", "transmission", "scatter"):
        if visible is not None and hasattr(visible, name):
            setattr(visible, name, True)
    # use_nodes is deprecated (and always true) from Blender 5.0 on.
    if world.node_tree is not None and (bpy.app.version >= (5, 0, 0) or world.use_nodes):
        for node in world.node_tree.nodes:
            if node.bl_idname == "ShaderNodeOutputWorld":
                for link in list(node.inputs["Volume"].links):
                    world.node_tree.links.remove(link)
        forget_the_ray(world.node_tree)
    return world


def forget_the_ray(tree: bpy.types.NodeTree) -> None:
    """Replace what Light Path nodes say, also in groups, by what they say to a diffuse ray."""
    for node in list(tree.nodes):
        if node.bl_idname == "ShaderNodeLightPath":
            for output in node.outputs:
                for link in list(output.links):
                    socket = link.to_socket
                    tree.links.remove(link)
                    constant = tree.nodes.new("ShaderNodeValue").outputs[0]
                    constant.default_value = SEEN_BY_A_DIFFUSE_RAY.get(output.name, 0.0)
                    tree.links.new(constant, socket)
        elif node.bl_idname == "ShaderNodeGroup" and node.node_tree is not None:
            node.node_tree = node.node_tree.copy()
            forget_the_ray(node.node_tree)
