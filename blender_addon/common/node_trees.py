# SPDX-License-Identifier: GPL-3.0-or-later
"""Read shader node trees, without changing them."""

from __future__ import annotations

from collections.abc import Iterator

import bpy


def images_of(
    node_tree: bpy.types.NodeTree | None, seen: set[bpy.types.NodeTree] | None = None
) -> Iterator[bpy.types.Image]:
    """Every image that a node of the tree, or of a group in it, refers to; each tree is visited once."""
    seen = set() if seen is None else seen
    if node_tree is None or node_tree in seen:
        return
    seen.add(node_tree)
    for node in node_tree.nodes:
        image = getattr(node, "image", None)
        if image is not None:
            yield image
        if getattr(node, "node_tree", None) is not None:
            yield from images_of(node.node_tree, seen)


def tree_of(owner: bpy.types.Material | bpy.types.World | None) -> bpy.types.NodeTree | None:
    """The node tree that a material or world shows, or None if it uses no nodes."""
    if owner is None or owner.node_tree is None:
        return None
    # use_nodes is deprecated (and always true) from Blender 5.0 on.
    uses_nodes = bpy.app.version >= (5, 0, 0) or owner.use_nodes
    return owner.node_tree if uses_nodes else None


def world_of(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> bpy.types.World | None:
    """The world that a view layer shows: its own (Blender 4.3 and later), else the scene's."""
    return getattr(view_layer, "world_override", None) or scene.world


def linked_from(socket: bpy.types.NodeSocket) -> tuple[bpy.types.Node, bpy.types.NodeSocket] | None:
    """The node and output socket that feed an input socket, through reroutes; None if nothing does."""
    while socket.is_linked:
        link = next((link for link in socket.links if link.is_valid and not link.is_muted), None)
        if link is None:
            return None
        if link.from_node.bl_idname != "NodeReroute":
            return link.from_node, link.from_socket
        socket = link.from_node.inputs[0]
    return None


def output_node(node_tree: bpy.types.NodeTree, kind: str) -> bpy.types.Node | None:
    """The output node that Cycles uses: `kind` is "ShaderNodeOutputWorld" or "ShaderNodeOutputMaterial"."""
    outputs = [node for node in node_tree.nodes if node.bl_idname == kind and node.target in {"ALL", "CYCLES"}]
    outputs.sort(key=lambda node: (node.target == "CYCLES", node.is_active_output), reverse=True)
    return outputs[0] if outputs else None


def has_plain_mapping(texture: bpy.types.Node) -> bool:
    """Whether a texture node changes neither coordinates nor colors (by old settings that only scripts can still reach)."""
    mapping, color = texture.texture_mapping, texture.color_mapping
    return (
        tuple(mapping.translation) == (0.0, 0.0, 0.0)
        and tuple(mapping.rotation) == (0.0, 0.0, 0.0)
        and tuple(mapping.scale) == (1.0, 1.0, 1.0)
        and (mapping.mapping_x, mapping.mapping_y, mapping.mapping_z) == ("X", "Y", "Z")
        and (color.brightness, color.contrast, color.saturation, color.blend_factor) == (1.0, 1.0, 1.0, 0.0)
        and not color.use_color_ramp
    )
