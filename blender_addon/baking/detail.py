# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a pass bakes can have more detail than the texels of a map, so that each must be the mean of many points.

An image that is no finer than the map, read through the UV map as it is, is taken in the middles of the texels: of the same
size, the map is then that image, exactly.
"""

from __future__ import annotations

import bpy

from ..closures.mixing import FACTOR, Mixed, parts_of
from ..closures.parameters import NORMALS
from ..closures.reading import Reading
from ..closures.values import inputs_of
from ..common.reached_nodes import Reached, known_input, reached_through
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


def is_fine(reading: Reading, baked: Pass, size: int) -> bool:
    """Whether a pass of a material may have more detail than maps of `size` texels in a row."""
    for leaf in reading.leaves:
        for name in baked.names:
            reads = [name] if name in NORMALS else list(inputs_of(value_in(leaf, name, reading)))
            for identifier in reads:
                if any(adds_detail(item, size) for item in reached_through(leaf.item, identifier)):
                    return True
    return any_mask(reading, size)


def any_mask(reading: Reading, size: int) -> bool:
    """Whether what mixes the closures of a material has fine detail."""
    return any(
        adds_detail(item, size)
        for part in parts_of(reading.surface)
        if isinstance(part, Mixed)
        for item in reached_through(part.item, FACTOR)
    )


def adds_detail(item: Reached, size: int) -> bool:
    """Whether a node can make more detail than texels of a map show."""
    node = item.node
    if node.bl_idname == IMAGE:
        image = node.image
        return image is not None and (
            max(image.size) > size or (node.interpolation == "Closest" and max(image.size) != size)
        )
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
