# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the tangent of a material without one is turned from that of the UV map, which is the only one that glTF has.

Cycles lets such a tangent go around the Z axis of the object. The angle is a matter of the mesh, so it is baked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np

from ...baking.cycles_bake import pixels_of
from ...baking.margins import Margin
from ...baking.tangents import direction_nodes
from ...references.cycles_settings import set_plain_cycles
from .maps import Array


def turns_of_tangents(
    objects: Sequence[bpy.types.Object],
    material: bpy.types.Material,
    uv_map: str,
    normals: bpy.types.Image | None,
    size: int,
) -> Array:
    """Turns from the tangent of a UV map to the tangent of a material without one, [size, size, 1], row 0 at the top.

    objects: those that may have the material, in the open view layer; each has a mesh of its own; normals: the material's map
    of them: the turn is seen along these.
    """
    scene, layer = bpy.context.scene, bpy.context.view_layer
    set_plain_cycles(scene, samples=1, threads=0, on_gpu=False)
    scene.render.engine, scene.world = "CYCLES", None
    settings = scene.render.bake
    for owner, name in ((scene.render, "use_bake_multires"), (settings, "use_multires")):
        if hasattr(owner, name):
            setattr(owner, name, False)
    image = bpy.data.images.new("PBRfit bake", size, size, alpha=True, float_buffer=True, is_data=True)
    image.generated_color = (0.0, 0.0, 0.0, 0.0)
    unused = bpy.data.images.new("PBRfit unused", 4, 4, float_buffer=True, is_data=True)
    shows, blank = showing_direction(image, uv_map, normals), showing_direction(unused, uv_map, None)
    for item in objects:
        if uv_map not in item.data.uv_layers or not any(slot.material == material for slot in item.material_slots):
            continue
        before = list(item.data.materials)
        for place, own in enumerate(before):
            item.data.materials[place] = shows if own == material else blank
        for other in objects:
            other.select_set(other == item, view_layer=layer)
        layer.objects.active = item
        bpy.ops.object.bake(
            type="EMIT", margin=0, target="IMAGE_TEXTURES", save_mode="INTERNAL", use_clear=False, uv_layer=uv_map
        )
        for place, own in enumerate(before):
            item.data.materials[place] = own
    for item in objects:
        item.select_set(True, view_layer=layer)
    pixels = pixels_of(image)
    direction = Margin().fill(np.ascontiguousarray(pixels[..., :2]), pixels[..., 3] > 0.5)
    bpy.data.batch_remove([shows, blank, image, unused])
    turns: Array = (np.arctan2(direction[..., 1:], direction[..., :1]) / (2.0 * math.pi)).astype(np.float32)
    return turns


def showing_direction(image: bpy.types.Image, uv_map: str, normals: bpy.types.Image | None) -> bpy.types.Material:
    """A material that shows the direction of its own tangent as cosine and sine; Cycles bakes it into `image`.

    As a direction, because directions have a mean; and not twice as far around, so that neighbors are alike.
    """
    material = bpy.data.materials.new("PBRfit bake")
    material.cycles.emission_sampling = "NONE"  # else Cycles prepares every triangle as a lamp
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    own = tree.nodes.new("ShaderNodeTangent")
    own.direction_type, own.axis = "RADIAL", "Z"
    bumped = None
    if normals is not None:
        coordinates, texture = tree.nodes.new("ShaderNodeUVMap"), tree.nodes.new("ShaderNodeTexImage")
        node = tree.nodes.new("ShaderNodeNormalMap")
        coordinates.uv_map, texture.image, node.uv_map = uv_map, normals, uv_map
        tree.links.new(coordinates.outputs["UV"], texture.inputs["Vector"])
        tree.links.new(texture.outputs["Color"], node.inputs["Color"])
        bumped = node.outputs["Normal"]
    angle, _turned = direction_nodes(tree, own.outputs[0], bumped, uv_map)
    light, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    combined = tree.nodes.new("ShaderNodeCombineXYZ")
    for place, operation in enumerate(("COSINE", "SINE")):
        part = tree.nodes.new("ShaderNodeMath")
        part.operation = operation
        tree.links.new(angle, part.inputs[0])
        tree.links.new(part.outputs[0], combined.inputs[place])
    tree.links.new(combined.outputs[0], light.inputs["Color"])
    tree.links.new(light.outputs[0], output.inputs["Surface"])
    target = tree.nodes.new("ShaderNodeTexImage")
    target.image = image
    tree.nodes.active = target
    return material
