# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the node trees of materials do that Cycles, or one set of maps, cannot show. Names the node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy
import numpy as np

from ..common.node_trees import tree_of
from ..common.reached_nodes import (
    MATERIAL_OUTPUT,
    Reached,
    kinds_in,
    label_of,
    reached_nodes,
    rendered_output,
)
from .finding import ERROR, WARNING, Finding
from .modifiers import keep_slots

# Outputs that change with the camera; no names: all of them.
VIEW_OUTPUTS: dict[str, set[str]] = {
    "ShaderNodeNewGeometry": {"Backfacing", "Incoming"},
    "ShaderNodeTexCoord": {"Window", "Camera", "Reflection"},
    "ShaderNodeCameraData": set(),
    "ShaderNodeLightPath": set(),
}
# These are usual as the factor between two shaders, where they weigh reflections as real surfaces do.
ANGLE_NODES = {"ShaderNodeFresnel", "ShaderNodeLayerWeight"}
BLACK_IN_CYCLES = "ShaderNodeShaderToRGB"


def slots_of_faces(scene_object: bpy.types.Object) -> set[int]:
    """The slots that faces of the object certainly use, as far as its own mesh tells; empty if modifiers decide that."""
    count = len(scene_object.material_slots)
    if not count or not keep_slots(scene_object):
        return set()
    mesh = scene_object.data
    stored = mesh.attributes.get("material_index")
    if stored is None or stored.domain != "FACE" or stored.data_type != "INT":
        return {0} if len(mesh.polygons) else set()
    indices = np.empty(len(stored.data), dtype=np.int32)
    stored.data.foreach_get("value", indices)
    return {int(index) for index in np.flatnonzero(np.bincount(np.clip(indices, 0, count - 1)))}


def material_findings(materials: Iterable[bpy.types.Material | None]) -> list[Finding]:
    """What the node trees of materials tell, each material once."""
    found: list[Finding] = []
    for material in dict.fromkeys(materials):
        tree = tree_of(material)
        if material is not None and tree is not None:
            found += tree_findings(material, tree)
    return found


def tree_findings(material: bpy.types.Material, tree: bpy.types.NodeTree) -> Iterator[Finding]:
    """What one node tree tells."""
    name = material.name
    if rendered_output(tree, MATERIAL_OUTPUT) is None:
        other = next((node for node in tree.nodes if node.bl_idname == MATERIAL_OUTPUT), None)
        if other is not None:
            cause = f'The material "{name}" has only the output node "{label_of(other)}" for EEVEE, so Cycles shows nothing.'
            yield Finding(ERROR, cause, "Set the node's target to All, or add an output node for Cycles.")
        return
    kinds = kinds_in(tree)
    is_looked_at = BLACK_IN_CYCLES in kinds or kinds & ANGLE_NODES or not kinds.isdisjoint(VIEW_OUTPUTS)
    reached = reached_nodes(tree, MATERIAL_OUTPUT) if is_looked_at else []
    black = next((item.node for item in reached if item.node.bl_idname == BLACK_IN_CYCLES), None)
    if black is not None:
        cause = f'The material "{name}" uses the node "{label_of(black)}" (Shader to RGB), which Cycles renders black.'
        yield Finding(ERROR, cause, "Give the object a material that Cycles can render too.")
    seen_from = [words for item in reached if (words := view_words(item))]
    if any(item.node.bl_idname in ANGLE_NODES for item in reached):
        seen_from += [words_of(item) for item in reached_nodes(tree, MATERIAL_OUTPUT, not_between_shaders)]
    seen_from = [words for words in dict.fromkeys(seen_from) if words]
    if seen_from:
        cause = f'The material "{name}" changes with the view: {", ".join(seen_from)}.'
        cure = "A texel has one value, so the fit is a mean of the views. Take such nodes out if that looks wrong."
        yield Finding(WARNING, cause, cure)
    if material.displacement_method != "BUMP":
        displacing = [item for item in reached_nodes(tree, MATERIAL_OUTPUT, only_displacement) if item.outputs]
        if displacing:
            cause = f'The material "{name}" displaces the surface by the node "{label_of(displacing[0].node)}".'
            cure = "PBRfit fits it as bump. Apply the displacement to the mesh if its shape matters."
            yield Finding(WARNING, cause, cure)


def view_words(item: Reached) -> str:
    """The node and those of its reached outputs that change with the view, or empty."""
    names = VIEW_OUTPUTS.get(item.node.bl_idname)
    if names is None:
        return ""
    shown = [socket.name for socket in item.node.outputs if socket.identifier in item.outputs]
    if item.node.bl_idname == "ShaderNodeLightPath" and shown == ["Is Shadow Ray"]:
        return ""
    changing = [name for name in shown if not names or name in names]
    return f'the node "{label_of(item.node)}" ({", ".join(changing)})' if changing else ""


def words_of(item: Reached) -> str:
    """The node, if it is one that depends on the angle of view."""
    return f'the node "{label_of(item.node)}"' if item.node.bl_idname in ANGLE_NODES else ""


def not_between_shaders(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input is anything but the factor of a Mix Shader."""
    return bool(node.bl_idname != "ShaderNodeMixShader" or socket != node.inputs[0])


def only_displacement(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input of the output node is its displacement; true for other nodes."""
    return bool(node.bl_idname != MATERIAL_OUTPUT or socket.identifier == "Displacement")
