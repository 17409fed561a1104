# SPDX-License-Identifier: GPL-3.0-or-later
"""The direction of anisotropic reflections, as a rotation from the tangent of the UV map, whatever tangent a closure has.

Cycles turns a closure's tangent T around its normal N by the rotation; what counts is its direction across N. So the new
material has the tangent U of the UV map, turned further by the angle from U to T, seen along N. The angle is baked as a
direction, twice as far around, because half a turn gives the same reflection: directions have a mean, angles do not.
"""

from __future__ import annotations

import math

import bpy
import numpy as np
from numpy.typing import NDArray

from ..closures.mixing import Leaf
from ..closures.parameters import TANGENT, parameters_of
from ..closures.reading import computes
from ..closures.values import Number

ROTATION = "Anisotropic Rotation"


def turned_tangent(leaf: Leaf) -> bool:
    """Whether a node computes the tangent of an anisotropic closure."""
    given = parameters_of(leaf)
    return ROTATION in given and given.get("Anisotropic", Number.of(0.0)) != Number.of(0.0) and computes(leaf, TANGENT)


def direction_nodes(
    tree: bpy.types.NodeTree,
    tangent: bpy.types.NodeSocket,
    normal: bpy.types.NodeSocket | None,
    uv_map: str,
) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """Nodes that compute the angle in radians from the UV map's tangent to another one, and a rotation to be added to it.

    Returns the output of the angle of the direction, twice as far around, and the input for the rotation in turns.
    """
    along = tree.nodes.new("ShaderNodeTangent")
    along.direction_type, along.uv_map = "UV_MAP", uv_map
    if normal is None:
        normal = tree.nodes.new("ShaderNodeNewGeometry").outputs["Normal"]
    across = vector(tree, "CROSS_PRODUCT", normal, along.outputs[0])
    # The UV map's tangent may not be perpendicular to a bumped normal; this one is.
    straight = vector(tree, "CROSS_PRODUCT", across.outputs["Vector"], normal)
    sine = vector(tree, "DOT_PRODUCT", tangent, vector(tree, "NORMALIZE", across.outputs["Vector"]).outputs["Vector"])
    cosine = vector(
        tree, "DOT_PRODUCT", tangent, vector(tree, "NORMALIZE", straight.outputs["Vector"]).outputs["Vector"]
    )
    angle = tree.nodes.new("ShaderNodeMath")
    angle.operation = "ARCTAN2"
    tree.links.new(sine.outputs["Value"], angle.inputs[0])
    tree.links.new(cosine.outputs["Value"], angle.inputs[1])
    turned = tree.nodes.new("ShaderNodeMath")
    turned.operation = "MULTIPLY_ADD"
    turned.inputs[1].default_value = 2.0 * math.pi
    tree.links.new(angle.outputs[0], turned.inputs[2])
    return turned.outputs[0], turned.inputs[0]


def vector(tree: bpy.types.NodeTree, operation: str, *sources: bpy.types.NodeSocket) -> bpy.types.Node:
    """A Vector Math node of these sources."""
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation = operation
    for place, source in enumerate(sources):
        tree.links.new(source, node.inputs[place])
    return node


def as_direction(tree: bpy.types.NodeTree, angle: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """The direction (cosine, sine, 0) of twice an angle."""
    double = tree.nodes.new("ShaderNodeMath")
    double.operation = "MULTIPLY"
    double.inputs[1].default_value = 2.0
    tree.links.new(angle, double.inputs[0])
    combined = tree.nodes.new("ShaderNodeCombineXYZ")
    for place, operation in enumerate(("COSINE", "SINE")):
        part = tree.nodes.new("ShaderNodeMath")
        part.operation = operation
        tree.links.new(double.outputs[0], part.inputs[0])
        tree.links.new(part.outputs[0], combined.inputs[place])
    return combined.outputs[0]


def rotation_of(directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotations in turns, 0..0.5, [...], of directions [..., 3] that are twice as far around."""
    turns = np.arctan2(directions[..., 1], directions[..., 0]) / (4.0 * math.pi)
    # A little less than no turn is not nearly half a turn.
    result: NDArray[np.float32] = np.where(turns < -1e-5, turns + 0.5, np.maximum(turns, 0.0)).astype(np.float32)
    return result
