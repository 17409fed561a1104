# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose values change with the view, so that no map can hold them."""

from __future__ import annotations

from ..common.reached_nodes import Reached, label_of

# Outputs that change with the camera; no names: all of them.
VIEW_OUTPUTS: dict[str, set[str]] = {
    "ShaderNodeNewGeometry": {"Backfacing", "Incoming"},
    "ShaderNodeTexCoord": {"Window", "Camera", "Reflection"},
    "ShaderNodeCameraData": set(),
    "ShaderNodeLightPath": set(),
}
# These are usual as the factor between a color and a reflection, which they weigh as real surfaces do.
ANGLE_NODES = {"ShaderNodeFresnel", "ShaderNodeLayerWeight"}
TURNS_VECTORS = "ShaderNodeVectorTransform"
WIREFRAME = "ShaderNodeWireframe"
CHANGING = {*VIEW_OUTPUTS, *ANGLE_NODES, TURNS_VECTORS, WIREFRAME}
"""All kinds of nodes (bl_idname) that may change with the view."""


def view_words(item: Reached) -> str:
    """The node and those of its reached outputs that change with the view, or empty."""
    node = item.node
    if node.bl_idname == TURNS_VECTORS:
        has_camera = (node.convert_from == "CAMERA") != (node.convert_to == "CAMERA")
        return f'the node "{label_of(node)}" (Camera)' if has_camera else ""
    if node.bl_idname == WIREFRAME:
        return f'the node "{label_of(node)}" (Pixel Size)' if node.use_pixel_size else ""
    names = VIEW_OUTPUTS.get(node.bl_idname)
    if names is None:
        return ""
    shown = [socket.name for socket in node.outputs if socket.identifier in item.outputs]
    if node.bl_idname == "ShaderNodeLightPath" and shown == ["Is Shadow Ray"]:
        return ""
    changing = [name for name in shown if not names or name in names]
    return f'the node "{label_of(node)}" ({", ".join(changing)})' if changing else ""


def angle_words(item: Reached) -> str:
    """The node, if it is one that depends on the angle of view."""
    return f'the node "{label_of(item.node)}"' if item.node.bl_idname in ANGLE_NODES else ""
