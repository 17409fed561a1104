# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modifiers of an object can make, as far as it can be told without evaluating them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

# They can make faces with a UV map where the object's own mesh has none.
MAKE_UV_MAPS = {"NODES", "BOOLEAN", "DATA_TRANSFER", "MESH_SEQUENCE_CACHE", "OCEAN"}
SET_MATERIALS = {"NODES", "BOOLEAN"}
# They leave each face in its slot, and every slot that had faces has some.
KEEP_SLOTS = {
    *(
        "ARMATURE",
        "ARRAY",
        "CAST",
        "CURVE",
        "DISPLACE",
        "EDGE_SPLIT",
        "HOOK",
        "LAPLACIANDEFORM",
        "LATTICE",
        "MESH_DEFORM",
    ),
    *("MIRROR", "MULTIRES", "NORMAL_EDIT", "SHRINKWRAP", "SIMPLE_DEFORM", "SMOOTH", "CORRECTIVE_SMOOTH", "SUBSURF"),
    *("LAPLACIANSMOOTH", "SURFACE_DEFORM", "TRIANGULATE", "UV_PROJECT", "UV_WARP", "WARP", "WAVE", "WEIGHTED_NORMAL"),
    *("PARTICLE_SYSTEM", "COLLISION"),
}


def active_modifiers(scene_object: bpy.types.Object) -> list[bpy.types.Modifier]:
    """The modifiers that the viewport shows."""
    return [modifier for modifier in scene_object.modifiers if modifier.show_viewport]


def can_make_uv_map(scene_object: bpy.types.Object) -> bool:
    """Whether the evaluated mesh may have a UV map though the object's own has none."""
    return any(modifier.type in MAKE_UV_MAPS for modifier in active_modifiers(scene_object))


def can_set_materials(scene_object: bpy.types.Object) -> bool:
    """Whether faces may show materials that are in no slot of the object."""
    return any(modifier.type in SET_MATERIALS for modifier in active_modifiers(scene_object))


def keep_slots(scene_object: bpy.types.Object) -> bool:
    """Whether the evaluated mesh certainly uses the same slots as the object's own mesh."""
    return all(modifier.type in KEEP_SLOTS for modifier in scene_object.modifiers)


def modifier_with(scene_object: bpy.types.Object, material: bpy.types.Material) -> bpy.types.Modifier | None:
    """The last modifier whose geometry nodes name `material`, or None."""
    for modifier in reversed(active_modifiers(scene_object)):
        if modifier.type == "NODES" and modifier.node_group is not None and material in named_materials(modifier):
            return modifier
    return None


def maker_of_materials(
    scene_object: bpy.types.Object, material: bpy.types.Material | None
) -> bpy.types.Modifier | None:
    """The modifier that most likely makes faces show `material`, or no material, in place of a slot's."""
    named = modifier_with(scene_object, material) if material is not None else None
    setting = (item for item in reversed(active_modifiers(scene_object)) if item.type in SET_MATERIALS)
    return named or next(setting, None)


def named_materials(modifier: bpy.types.Modifier) -> set[bpy.types.Material]:
    """The materials that a Geometry Nodes modifier names, in its inputs, in its nodes and in what is baked."""
    baked = [item.id for bake in modifier.bakes for item in bake.data_blocks]
    values = [*input_values(modifier), *socket_values(modifier.node_group, set()), *baked]
    return {value for value in values if isinstance(value, bpy.types.Material)}


def input_values(modifier: bpy.types.Modifier) -> list[Any]:
    """The values of a Geometry Nodes modifier's inputs."""
    inputs = [item for item in modifier.node_group.interface.items_tree if getattr(item, "in_out", "") == "INPUT"]
    if hasattr(modifier, "properties"):  # from Blender 5.2 on
        sockets = [getattr(modifier.properties.inputs, item.identifier, None) for item in inputs]
        return [getattr(socket, "value", None) for socket in sockets]
    return [modifier.get(item.identifier) for item in inputs]


def socket_values(tree: bpy.types.NodeTree, seen: set[bpy.types.NodeTree]) -> Iterator[Any]:
    """The values of all material inputs of a tree's nodes and of the groups in it."""
    seen.add(tree)
    for node in tree.nodes:
        yield from (socket.default_value for socket in node.inputs if socket.type == "MATERIAL")
        if node.bl_idname == "GeometryNodeInputMaterial":
            yield node.material
        inner = getattr(node, "node_tree", None)
        if inner is not None and inner not in seen:
            yield from socket_values(inner, seen)
