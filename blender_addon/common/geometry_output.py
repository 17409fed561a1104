# SPDX-License-Identifier: GPL-3.0-or-later
"""The group node that holds what maps say of the geometry: height, curvature and thickness. Nothing comes out of it, so it
changes no render; Save Maps reads it, and an artist links from its maps what a shader needs."""

from __future__ import annotations

import bpy

from .names import RECORD

NAME = "PBRfit Geometry"
HEIGHT, CURVATURE, THICKNESS = "Height", "Curvature", "Thickness"
GEOMETRY = (HEIGHT, CURVATURE, THICKNESS)
SCALES = {name: f"{name} Scale" for name in GEOMETRY}
"""The inputs that say what the whole range of a map stands for, in units of the scene: see baking/geometry.py."""


def geometry_group() -> bpy.types.NodeTree:
    """The file's group, made if there is none."""
    for group in bpy.data.node_groups:
        names = [item.name for item in group.interface.items_tree]
        if (
            is_geometry_group(group)
            and group.library is None
            and all(name in names for name in (*GEOMETRY, *SCALES.values()))
        ):
            return group
    group = bpy.data.node_groups.new(NAME, "ShaderNodeTree")
    group[RECORD] = ""
    for name in (*GEOMETRY, *SCALES.values()):
        group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketFloat")
    group.nodes.new("NodeGroupOutput")
    group.nodes.new("NodeGroupInput").location = (-200.0, 0.0)
    return group


def is_geometry_group(tree: bpy.types.NodeTree) -> bool:
    """Whether a node tree is such a group."""
    return bool(tree.name.startswith(NAME))


def geometry_socket(tree: bpy.types.NodeTree, name: str) -> bpy.types.NodeSocket | None:
    """An input of such a group in the tree of a material; None if there is none."""
    for node in tree.nodes:
        if node.bl_idname == "ShaderNodeGroup" and node.node_tree is not None and is_geometry_group(node.node_tree):
            return node.inputs.get(name)
    return None
