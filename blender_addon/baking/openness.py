# SPDX-License-Identifier: GPL-3.0-or-later
"""How open each texel is: the part of the sky above it that its own objects leave free, cosine-weighted (ambient occlusion)."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from ..common.reached_nodes import MATERIAL_OUTPUT, known_input
from ..common.resizing import resized
from ..protocol.map_shape import MapSize, limited
from ..references.stage import Stage
from .fields import Baked
from .margins import Margin
from .pass_baker import PassBaker
from .stand_ins import placeholder

LARGEST_BAKE = 512
"""Edge of the square that has as many pixels as a bake has at most. Openness is smooth: larger maps get what lies between, and
the time goes into rays instead."""
SAMPLES, RAYS = 8, 32
"""Points in each texel, and rays from each of them."""
OPEN_EVERYWHERE = 1.0 / 255.0


def bake_openness(baker: PassBaker, set_up: Stage, size: MapSize, baked: list[Baked]) -> None:
    """Give what was baked of each of the baker's owners its openness, [H, W], filled where no face is.

    size: height and width of the maps. It stays None where everything is open: nothing is in the way of anything.
    """
    reach = 2.0 * extent_of(set_up)
    baked_size = limited(size, LARGEST_BAKE)
    parts = baker.bake_materials(lambda image: occlusion_shown(image, reach), baked_size, SAMPLES)
    for found, tiles in zip(baked, parts, strict=True):
        covered = [texels.values[texels.covered] for texels in tiles.values()]
        if min(float(values.min(initial=1.0)) for values in covered) > 1.0 - OPEN_EVERYWHERE:
            continue
        found.openness = {}
        for tile, texels in tiles.items():
            filled = Margin().fill(texels.values[..., :1], texels.covered)[..., 0]
            found.openness[tile] = enlarged(filled, size).clip(0.0, 1.0)
            # Where nothing else was baked.
            found.covered.setdefault(tile, repeated(texels.covered, size))


def occlusion_shown(image: bpy.types.Image, reach: float) -> bpy.types.Material:
    """A material that shows how open each point is; Cycles bakes it into `image`. reach: how far rays go."""
    material = placeholder(image)
    tree = material.node_tree
    output = next(node for node in tree.nodes if node.bl_idname == MATERIAL_OUTPUT)
    light, occlusion = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeAmbientOcclusion")
    occlusion.samples = RAYS
    known_input(occlusion, "Distance").default_value = reach
    tree.links.new(occlusion.outputs["AO"], known_input(light, "Color"))
    tree.links.new(light.outputs[0], known_input(output, "Surface"))
    material.cycles.emission_sampling = "NONE"  # else Cycles prepares every triangle as a lamp
    return material


def extent_of(set_up: Stage) -> float:
    """The length of the diagonal of the box around all objects of a stage."""
    corners = [target.matrix_world @ Vector(corner) for target in set_up.targets for corner in target.bound_box]
    low, high = (Vector(pick(axis) for axis in zip(*corners, strict=True)) for pick in (min, max))
    return max(float((high - low).length), 1e-6)


def enlarged(values: NDArray[np.float32], size: MapSize) -> NDArray[np.float32]:
    """Values [h, w] at [H, W] texels, `size`: what lies between the middles of the texels in a straight line."""
    return resized(values[..., None], size[1], size[0])[..., 0]


def repeated(covered: NDArray[np.bool_], size: MapSize) -> NDArray[np.bool_]:
    """A mask [h, w] at [H, W] texels, `size`: each texel of it covers a block."""
    found: NDArray[np.bool_] = np.kron(
        covered, np.ones((size[0] // len(covered), size[1] // covered.shape[1]), np.bool_)
    )
    return found
