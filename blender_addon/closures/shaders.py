# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what the shaders of a material show in Cycles: a surface or none, a volume, and how they are mixed."""

from __future__ import annotations

from collections.abc import Hashable

import bpy

from ..common.node_trees import linked_from
from ..common.reached_nodes import (
    MATERIAL_OUTPUT,
    Reached,
    constant_of,
    input_of,
    reached_nodes,
    reached_through,
)

PRINCIPLED = "ShaderNodeBsdfPrincipled"
MIX_SHADER = "ShaderNodeMixShader"
MIXERS = {MIX_SHADER, "ShaderNodeAddShader"}
VOLUMES = {
    "ShaderNodeVolumeAbsorption",
    "ShaderNodeVolumeCoefficients",
    "ShaderNodeVolumePrincipled",
    "ShaderNodeVolumeScatter",
}
# What shows nothing of a surface; a volume's shader shows nothing as one.
INVISIBLE = {"ShaderNodeBsdfTransparent", "ShaderNodeHoldout"} | VOLUMES
# What a fit calls the base color, by the input that it comes from. Others only reflect, refract or let through.
COLORED = {
    PRINCIPLED: "Base Color",
    "ShaderNodeBsdfDiffuse": "Color",
    "ShaderNodeBsdfSheen": "Color",
    "ShaderNodeBsdfToon": "Color",
    "ShaderNodeBsdfTranslucent": "Color",
    "ShaderNodeBsdfVelvet": "Color",
    "ShaderNodeEeveeSpecular": "Base Color",
    "ShaderNodeEmission": "Color",
    "ShaderNodeSubsurfaceScattering": "Color",
}


def surface_shaders(tree: bpy.types.NodeTree) -> list[Reached]:
    """The shaders that reach the surface of a material's output, without what only mixes them or holds them."""
    return shaders_of([item for item in reached_nodes(tree, MATERIAL_OUTPUT, only_surface) if item.outputs])


def volume_shaders(tree: bpy.types.NodeTree) -> list[Reached]:
    """The shaders that reach the volume of a material's output."""
    return shaders_of([item for item in reached_nodes(tree, MATERIAL_OUTPUT, only_volume) if item.outputs])


def shaders_of(reached: list[Reached]) -> list[Reached]:
    """Those of reached nodes that are more than a mix of others."""
    return [item for item in reached if item.node.bl_idname not in MIXERS and not is_group(item.node)]


def is_invisible(item: Reached) -> bool:
    """Whether a shader shows nothing of the surface, wherever it is."""
    if item.node.bl_idname == PRINCIPLED:
        return constant_of(item, "Alpha") == 0.0
    return item.node.bl_idname in INVISIBLE


def mixes_colors(item: Reached) -> bool:
    """Whether a reached Mix Shader mixes two sides that both have a color of their own, and not the same one."""
    sides = [colors_of(item, identifier) for identifier in ("Shader", "Shader_001")]
    return all(sides) and len(sides[0] | sides[1]) > 1


def colors_of(item: Reached, identifier: str) -> set[Hashable]:
    """Where the base colors come from that reach one input of a mix of shaders: a number, or a node and its output."""
    found: set[Hashable] = set()
    for shader in shaders_of(reached_through(item, identifier, only_shaders)):
        name = COLORED.get(shader.node.bl_idname)
        if name is None or is_invisible(shader) or is_glass(shader):
            continue
        socket = input_of(shader.node, name)
        if socket is None:
            continue
        source = linked_from(socket)
        if source is None:
            found.add(tuple(socket.default_value))
        else:
            found.add((*(group.as_pointer() for group in shader.groups), source[0].as_pointer(), source[1].identifier))
    return found


def is_glass(item: Reached) -> bool:
    """Whether a Principled BSDF only refracts and reflects."""
    return item.node.bl_idname == PRINCIPLED and constant_of(item, "Transmission Weight") == 1.0


def see_through(surface: list[Reached]) -> Reached | None:
    """The shader that refracts, if the shaders of a surface show no color beside it."""
    refracting = next((item for item in surface if refracts(item)), None)
    colored = any(item.node.bl_idname in COLORED and not refracts(item) and not is_invisible(item) for item in surface)
    return None if colored else refracting


def refracts(item: Reached) -> bool:
    """Whether a shader lets light through, bent."""
    if item.node.bl_idname == PRINCIPLED:
        return constant_of(item, "Transmission Weight") != 0.0
    return item.node.bl_idname in {"ShaderNodeBsdfGlass", "ShaderNodeBsdfRefraction"}


def is_group(node: bpy.types.Node) -> bool:
    """Whether a node is a group, also one whose tree is gone."""
    return hasattr(node, "node_tree")


def only_shaders(_node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input takes a shader."""
    return bool(socket.type == "SHADER")


def only_surface(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input takes a shader of the surface."""
    return only_shaders(node, socket) and (node.bl_idname != MATERIAL_OUTPUT or socket.identifier == "Surface")


def only_volume(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input takes a shader of the volume."""
    return only_shaders(node, socket) and (node.bl_idname != MATERIAL_OUTPUT or socket.identifier == "Volume")
