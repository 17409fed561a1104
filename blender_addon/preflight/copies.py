# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether faces that share their places in a map look the same anyway: what they show is by UV, or they are copies."""

from __future__ import annotations

import bpy
import numpy as np

from ..common.node_trees import linked_from, tree_of
from ..common.reached_nodes import MATERIAL_OUTPUT, Reached, input_of, reached_nodes
from ..export.mesh_reading import read_mesh
from ..export.uv_layout import find_overlap
from .modifiers import KEEP_SLOTS, active_modifiers

# Their copies have the UVs, and all else that a mesh stores, of what they copy.
COPYING = {"ARRAY", "MIRROR", "SOLIDIFY"}
# They move faces or split them, within what they cover of a map.
KEEP_UVS = (KEEP_SLOTS - {"UV_PROJECT", "UV_WARP"}) | {"BEVEL", "WELD"}
# Nodes whose outputs depend on nothing but their inputs.
PURE = {
    *("ShaderNodeAddShader", "ShaderNodeMixShader", "ShaderNodeMix", "ShaderNodeMixRGB", "ShaderNodeGroup"),
    *("ShaderNodeEmission", "ShaderNodeSubsurfaceScattering", "ShaderNodeHoldout", "ShaderNodeBump"),
    *("ShaderNodeBlackbody", "ShaderNodeBrightContrast", "ShaderNodeClamp", "ShaderNodeFloatCurve", "ShaderNodeGamma"),
    *("ShaderNodeHueSaturation", "ShaderNodeInvert", "ShaderNodeMapRange", "ShaderNodeMath", "ShaderNodeMapping"),
    *("ShaderNodeRGB", "ShaderNodeRGBCurve", "ShaderNodeRGBToBW", "ShaderNodeValToRGB", "ShaderNodeValue"),
    *("ShaderNodeSeparateColor", "ShaderNodeSeparateXYZ", "ShaderNodeCombineColor", "ShaderNodeCombineXYZ"),
    *("ShaderNodeVectorCurve", "ShaderNodeVectorMath", "ShaderNodeVectorRotate", "ShaderNodeWavelength"),
    *("ShaderNodeUVMap", "ShaderNodeVertexColor", "ShaderNodeFresnel", "ShaderNodeLayerWeight"),
    MATERIAL_OUTPUT,
}
# Textures, which read the object's own coordinates unless they are given others.
TEXTURES = {
    f"ShaderNodeTex{name}"
    for name in ("Brick", "Checker", "Gabor", "Gradient", "Magic", "Musgrave", "Noise", "Voronoi", "Wave", "WhiteNoise")
}


def is_copied(scene_object: bpy.types.Object, uv_map: str, slots: set[int]) -> bool:
    """Whether faces of an object overlap in a UV map only as copies that modifiers make, which look alike.

    slots: the indices of the slots that the faces are of.
    """
    modifiers = active_modifiers(scene_object)
    if not any(item.type in COPYING for item in modifiers) or not all(copies_plainly(item) for item in modifiers):
        return False
    materials = [
        scene_object.material_slots[index].material for index in slots if index < len(scene_object.material_slots)
    ]
    return all(map(is_by_uv, materials)) and not overlaps_itself(scene_object, uv_map, slots)


def copies_plainly(modifier: bpy.types.Modifier) -> bool:
    """Whether a modifier copies faces with their UVs as they are, or keeps the UVs."""
    if modifier.type == "ARRAY":
        moves = (modifier.offset_u, modifier.offset_v) != (0.0, 0.0)
        return modifier.start_cap is None and modifier.end_cap is None and not moves
    if modifier.type == "MIRROR":
        moves = any((modifier.offset_u, modifier.offset_v, modifier.mirror_offset_u, modifier.mirror_offset_v))
        return not (modifier.use_mirror_u or modifier.use_mirror_v or moves)
    return modifier.type in KEEP_UVS or modifier.type == "SOLIDIFY"


def overlaps_itself(scene_object: bpy.types.Object, uv_map: str, slots: set[int]) -> bool:
    """Whether faces of the object's own mesh share places in a UV map, or it has none of that name."""
    reading = read_mesh(scene_object.data, uv_map)
    if reading.uv is None or not np.isfinite(reading.uv).all():
        return True
    of_polygon = reading.slots_within(len(scene_object.material_slots))
    mine = np.isin(of_polygon[reading.triangle_polygons], list(slots))
    corners = reading.uv[reading.triangles[mine]]
    return len(corners) > 0 and find_overlap(corners, np.zeros(len(corners), dtype=np.int64)) is not None


def is_by_uv(material: bpy.types.Material | None) -> bool:
    """Whether a material reads only UVs, vertex colors and constants, and so shows all copies of a face alike."""
    return all(map(is_pure, reached_nodes(tree_of(material), MATERIAL_OUTPUT)))


def reads_only(material: bpy.types.Material | None, uv_map: str, default_uv_map: str | None) -> bool:
    """Whether a material shows the same wherever a face lies on the object, if it lies in the same place of one UV map.

    default_uv_map: the one that nodes read which name none.
    """
    return all(
        is_pure(item) and not reads_else(item.node, uv_map, default_uv_map)
        for item in reached_nodes(tree_of(material), MATERIAL_OUTPUT)
    )


def reads_else(node: bpy.types.Node, uv_map: str, default_uv_map: str | None) -> bool:
    """Whether a node reads what a mesh stores besides one UV map."""
    kind = node.bl_idname
    if kind == "ShaderNodeTexImage":
        vector = input_of(node, "Vector")
        return (vector is None or linked_from(vector) is None) and default_uv_map != uv_map
    if kind in {"ShaderNodeUVMap", "ShaderNodeNormalMap"}:
        return bool((node.uv_map or default_uv_map) != uv_map)
    return kind == "ShaderNodeVertexColor" or (kind == "ShaderNodeTexCoord" and default_uv_map != uv_map)


def is_pure(item: Reached) -> bool:
    """Whether a reached node reads only its inputs, UVs or vertex colors."""
    node = item.node
    kind = node.bl_idname
    if getattr(node, "from_instancer", False):
        return False
    if kind == "ShaderNodeTexCoord":
        return item.outputs == {"UV"}
    if kind == "ShaderNodeNormalMap":
        return bool(node.space == "TANGENT")
    if kind == "ShaderNodeTexImage":
        return bool(node.projection == "FLAT")  # by UV without a link
    if kind in TEXTURES or kind == "ShaderNodeTexEnvironment":
        vector = input_of(node, "Vector")
        return vector is not None and (not vector.enabled or linked_from(vector) is not None)
    return kind in PURE or kind.startswith("ShaderNodeBsdf")
