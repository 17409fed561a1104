# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the node trees of materials do that Cycles, or one set of maps, cannot show. Names the node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy
import numpy as np

from ..closures.parameters import CORE
from ..closures.shaders import MIX_SHADER, is_invisible, mixes_colors, see_through, surface_shaders, volume_shaders
from ..closures.view_dependence import ANGLE_NODES, CHANGING, angle_words, view_words
from ..common.node_trees import tree_of
from ..common.reached_nodes import (
    MATERIAL_OUTPUT,
    Follow,
    Reached,
    kinds_in,
    label_of,
    reached_nodes,
    rendered_output,
)
from .finding import ERROR, WARNING, Finding
from .libraries import library_findings
from .losses import KEEP, keeps_transmission, loss_findings
from .modifiers import keep_slots
from .verdicts import verdict

BLACK_IN_CYCLES = "ShaderNodeShaderToRGB"
OCCLUSION = "ShaderNodeAmbientOcclusion"
# Kinds of nodes that a look at the reached nodes is for.
LOOKED_AT = {*CHANGING, BLACK_IN_CYCLES, OCCLUSION}


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


def material_findings(
    materials: Iterable[bpy.types.Material | None], has_neighbors: bool, target: str = CORE
) -> list[Finding]:
    """What the node trees of materials tell, each material once.

    has_neighbors: whether renders show other objects beside those to fit; target: what the new materials can keep.
    """
    found: list[Finding] = []
    for material in dict.fromkeys(materials):
        if material is None:
            continue
        found += library_findings(material, MATERIAL_OUTPUT, "material")
        tree = tree_of(material)
        if tree is not None and not material.is_missing:
            found += tree_findings(material, tree, has_neighbors, target)
            found += loss_findings([material], target)
    return found


def tree_findings(
    material: bpy.types.Material, tree: bpy.types.NodeTree, has_neighbors: bool, target: str
) -> Iterator[Finding]:
    """What one node tree tells."""
    name = material.name
    if rendered_output(tree, MATERIAL_OUTPUT) is None:
        yield no_output_finding(name, tree)
        return
    kinds = kinds_in(tree)
    yield from surface_findings(material, tree, target)
    reached = [] if kinds.isdisjoint(LOOKED_AT) else reached_nodes(tree, MATERIAL_OUTPUT)
    black = next((item.node for item in reached if item.node.bl_idname == BLACK_IN_CYCLES), None)
    if black is not None:
        cause = f'The material "{name}" uses the node "{label_of(black)}" (Shader to RGB), which Cycles renders black.'
        yield Finding(ERROR, cause, "Give the object a material that Cycles can render too.")
    seen_from = [words for item in reached if (words := view_words(item))]
    if any(item.node.bl_idname in ANGLE_NODES for item in reached):
        seen_from += [angle_words(item) for item in reached_nodes(tree, MATERIAL_OUTPUT, without_reflections(reached))]
    seen_from = [words for words in dict.fromkeys(seen_from) if words]
    if seen_from:
        cause = f'The material "{name}" changes with the view: {", ".join(seen_from)}.'
        cure = "A texel has one value, so the fit is a mean of the views. Take such nodes out if that looks wrong."
        yield Finding(WARNING, cause, cure)
    around = [item.node for item in reached if item.node.bl_idname == OCCLUSION and not item.node.only_local]
    if around and has_neighbors:
        cause = f'The material "{name}" reads the objects around it by the node "{label_of(around[0])}".'
        yield Finding(WARNING, cause, 'The fit hides them. Turn on "Only Local" in the node to see what the fit sees.')
    if material.displacement_method != "BUMP":
        displacing = [item for item in reached_nodes(tree, MATERIAL_OUTPUT, only_displacement) if item.outputs]
        if displacing:
            cause = f'The material "{name}" displaces the surface by the node "{label_of(displacing[0].node)}".'
            cure = "PBRfit fits it as bump. Apply the displacement to the mesh if its shape matters."
            yield Finding(WARNING, cause, cure)


def no_output_finding(name: str, tree: bpy.types.NodeTree) -> Finding:
    """The error that Cycles finds no output node in the tree of a material."""
    other = next((node for node in tree.nodes if node.bl_idname == MATERIAL_OUTPUT), None)
    if other is None:
        cause = f'The material "{name}" has no output node, so Cycles shows nothing.'
        return Finding(
            ERROR, cause, "Add a Material Output node in the Shader Editor and link a shader to its Surface."
        )
    cause = f'The material "{name}" has only the output node "{label_of(other)}" for EEVEE, so Cycles shows nothing.'
    return Finding(ERROR, cause, "Set the node's target to All, or add an output node for Cycles.")


def surface_findings(material: bpy.types.Material, tree: bpy.types.NodeTree, target: str) -> Iterator[Finding]:
    """Whether a material has a surface that Cycles shows, and a volume in it."""
    name = material.name
    surface, volume = surface_shaders(tree), volume_shaders(tree)
    if not all(is_invisible(item) for item in surface):
        if volume:
            cause = f'The material "{name}" has a volume by the node "{label_of(volume[0].node)}".'
            cure = "PBRfit fits the surface alone, as it looks with the volume. Unlink the volume if that looks wrong."
            yield Finding(WARNING, cause, cure)
        glass = see_through(surface)
        if glass is not None and not keeps_transmission(material, target):
            cause = f'The material "{name}" is see-through like glass by the node "{label_of(glass.node)}".'
            cure = "The maps cannot show that: the fit paints what is behind onto the surface."
            yield Finding(WARNING, cause, cure, KEEP if verdict(material, target).keeper else "")
        return
    if surface:
        why = f'the node "{label_of(surface[0].node)}" shows nothing of it'
    elif volume:
        why = f'it is only the volume of the node "{label_of(volume[0].node)}"'
    else:
        why = "no shader reaches the Surface of its output node"
    cause = f'The material "{name}" has no surface in Cycles: {why}.'
    cure = "Link a shader with a color to that Surface, or give the faces another material."
    yield Finding(ERROR, cause, cure)


def without_reflections(reached: list[Reached]) -> Follow:
    """Follow anything but the factors that weigh a reflection, which mix no two colors."""
    mixed = {item.node.as_pointer() for item in reached if item.node.bl_idname == MIX_SHADER and mixes_colors(item)}

    def follow(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
        return bool(node.bl_idname != MIX_SHADER or socket != node.inputs[0] or node.as_pointer() in mixed)

    return follow


def only_displacement(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input of the output node is its displacement; true for other nodes."""
    return bool(node.bl_idname != MATERIAL_OUTPUT or socket.identifier == "Displacement")
