# SPDX-License-Identifier: GPL-3.0-or-later
"""The group node by which a material tells Blender's glTF exporter what no input of the Principled BSDF takes: occlusion.

The exporter looks for a group of this name in the tree of a material, and reads its inputs. Nothing comes out of the group,
so it changes no render.
"""

from __future__ import annotations

import bpy

from .names import RECORD

NAME = "glTF Material Output"
OCCLUSION = "Occlusion"
INPUTS = {
    OCCLUSION: 0.0,
    "Thickness": 0.0,
    "Dispersion": 0.0,
    "Iridescence Factor": 0.0,
    "Iridescence Thickness Minimum": 100.0,
}
"""Those of the group that Blender's own importer makes, and their defaults. Where the file has such a group, that importer
takes it as its own: in 5.2 it stops at a material with occlusion where an input is missing."""
OPENNESS_NODE = "Red: Openness (AO)"
"""The node that splits an ORM map with openness. Materials by earlier versions have it without a link from its red."""


def output_group() -> bpy.types.NodeTree:
    """The file's group, made as Blender's exporter makes it if there is none."""
    for group in bpy.data.node_groups:
        if is_output_group(group) and group.library is None and _has_input(group):
            if RECORD in group:  # an earlier version's may have fewer inputs
                _complete(group)
            return group
    group = bpy.data.node_groups.new(NAME, "ShaderNodeTree")
    group[RECORD] = ""
    _complete(group)
    group.nodes.new("NodeGroupOutput")
    group.nodes.new("NodeGroupInput").location = (-200.0, 0.0)
    return group


def _complete(group: bpy.types.NodeTree) -> None:
    known = {item.name for item in group.interface.items_tree if item.item_type == "SOCKET"}
    for name, value in INPUTS.items():
        if name not in known:
            group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketFloat").default_value = value


def is_output_group(tree: bpy.types.NodeTree) -> bool:
    """Whether a node tree is such a group: one of shaders, since geometry's may have the name too."""
    return bool(tree.name.startswith(NAME) and tree.bl_idname == "ShaderNodeTree")


def occlusion_socket(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket | None:
    """The input of such a group in the tree of a material; None if there is none."""
    for node in tree.nodes:
        if node.bl_idname == "ShaderNodeGroup" and node.node_tree is not None and is_output_group(node.node_tree):
            socket = node.inputs.get(OCCLUSION)
            if socket is not None:
                return socket
    return None


def _has_input(group: bpy.types.NodeTree) -> bool:
    """Whether a group has an input for occlusion: a number, and not an output or a panel of that name."""
    return any(
        item.name == OCCLUSION
        and item.item_type == "SOCKET"
        and item.in_out == "INPUT"
        and item.socket_type == "NodeSocketFloat"
        for item in group.interface.items_tree
    )
