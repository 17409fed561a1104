# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a pass bakes can have more detail than the texels of a map, so that each must be the mean of many points.

An image that is no finer than the map, read through the UV map as it is, is taken in the middles of the texels: of the same
size, the map is then that image, exactly.
"""

from __future__ import annotations

import bpy

from ..closures.mixing import FACTOR, Leaf, Mixed, parts_of
from ..closures.parameters import NORMALS
from ..closures.reading import Reading
from ..closures.values import inputs_of
from ..common.reached_nodes import Reached, known_input, reached_through
from ..protocol.map_shape import MapSize
from .quantities import Pass, value_in

# What adds no detail, or less than the images and colors that it reads.
SMOOTH = {
    *("ShaderNodeUVMap", "ShaderNodeTexCoord", "ShaderNodeRGB", "ShaderNodeValue", "ShaderNodeVertexColor"),
    *("ShaderNodeAttribute", "ShaderNodeSeparateColor", "ShaderNodeCombineColor", "ShaderNodeSeparateXYZ"),
    *("ShaderNodeCombineXYZ", "ShaderNodeMix", "ShaderNodeMixRGB", "ShaderNodeGamma", "ShaderNodeBrightContrast"),
    *("ShaderNodeHueSaturation", "ShaderNodeInvert", "ShaderNodeRGBCurve", "ShaderNodeRGBToBW", "ShaderNodeClamp"),
    *("ShaderNodeNormalMap", "ShaderNodeGroup", "ShaderNodeFresnel", "ShaderNodeLayerWeight", "ShaderNodeMixShader"),
}
STEPS = {
    "GREATER_THAN",
    "LESS_THAN",
    "COMPARE",
    "SIGN",
    "ROUND",
    "FLOOR",
    "CEIL",
    "TRUNC",
    "FRACT",
    "MODULO",
    "WRAP",
    "SNAP",
}
IMAGE = "ShaderNodeTexImage"


RANDOM = {"ShaderNodeAmbientOcclusion", "ShaderNodeBevel"}
"""What Cycles finds by random rays: the mean of many is needed."""


def is_random(reading: Reading, baked: Pass) -> bool:
    """Whether random rays decide about what a pass of a material bakes."""
    reads = [(leaf, name) for leaf in reading.leaves for name in read_by(leaf, reading, baked)]
    reached = [item for leaf, name in reads for item in reached_through(leaf.item, name)]
    reached += mask_nodes(reading)
    return any(item.node.bl_idname in RANDOM for item in reached)


def read_by(leaf: Leaf, reading: Reading, baked: Pass) -> list[str]:
    """The inputs of a closure that a pass reads."""
    return [
        identifier
        for name in baked.names
        for identifier in ([name] if name in NORMALS else inputs_of(value_in(leaf, name, reading)))
    ]


def mask_nodes(reading: Reading) -> list[Reached]:
    """The nodes that reach the factors by which the closures of a material are mixed."""
    mixed = [part for part in parts_of(reading.surface) if isinstance(part, Mixed)]
    return [item for part in mixed for item in reached_through(part.item, FACTOR)]


def is_fine(reading: Reading, baked: Pass, size: MapSize) -> bool:
    """Whether a pass of a material may have more detail than maps of this height and width in texels."""
    if any(adds_detail(item, size) for item in mask_nodes(reading)):
        return True
    return any(
        adds_detail(item, size)
        for leaf in reading.leaves
        for name in read_by(leaf, reading, baked)
        for item in reached_through(leaf.item, name)
    )


def adds_detail(item: Reached, size: MapSize) -> bool:
    """Whether a node can make more detail than texels of a map show."""
    node = item.node
    if node.bl_idname == IMAGE:
        if node.image is None:
            return False
        width, height = node.image.size
        is_finer = height > size[0] or width > size[1]
        return is_finer or (node.interpolation == "Closest" and (height, width) != size)
    if node.bl_idname == "ShaderNodeTexCoord":
        return not item.outputs <= {"UV", "Normal"}
    if node.bl_idname in {"ShaderNodeMath", "ShaderNodeVectorMath"}:
        return node.operation in STEPS
    if node.bl_idname == "ShaderNodeMapping":
        return not keeps_size(node)
    return node.bl_idname not in SMOOTH


def keeps_size(mapping: bpy.types.Node) -> bool:
    """Whether a Mapping node makes nothing smaller than it is."""
    scale = known_input(mapping, "Scale")
    return not scale.is_linked and all(abs(part) <= 1.0 for part in scale.default_value)
