# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the UV map that nodes read which name none: they read the one that renders use, and a bake uses another."""

from __future__ import annotations

import bpy

from ..common.reached_nodes import known_input

IMAGE, COORDINATES, UV_MAP = "ShaderNodeTexImage", "ShaderNodeTexCoord", "ShaderNodeUVMap"
NAMING = {UV_MAP, "ShaderNodeNormalMap", "ShaderNodeTangent"}


def name_uv_map(tree: bpy.types.NodeTree, name: str) -> None:
    """Let the nodes of a tree, also in groups, read the UV map `name` where they name none."""
    for node in list(tree.nodes):
        if getattr(node, "node_tree", None) is not None:
            name_uv_map(node.node_tree, name)
        elif node.bl_idname in NAMING and not node.uv_map:
            node.uv_map = name
        elif node.bl_idname == COORDINATES:
            taken = [link.to_socket for link in tree.links if link.from_socket == node.outputs["UV"]]
            for socket in taken:
                read_from(tree, socket, name)
        elif node.bl_idname == IMAGE and not known_input(node, "Vector").is_linked:
            read_from(tree, known_input(node, "Vector"), name)


def read_from(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, name: str) -> None:
    """Link a UV map to an input."""
    node = tree.nodes.new(UV_MAP)
    node.uv_map = name
    tree.links.new(node.outputs[0], socket)
