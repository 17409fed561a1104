# SPDX-License-Identifier: GPL-3.0-or-later
"""Which light the references of a fit are in: the scene's own world, lights made for this, or both.

What a picture tells of a material depends on the light. Under an even gray sky painted metal looks like a dull dielectric, and
no view tells them apart; in one light alone, what is wrong in the base color can be made up for in roughness. The references are
rendered in a Blender of our own, so nothing forces the scene's light on them.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.light_names import AUTOMATIC, BOTH, STUDIO
from ..common.node_trees import tree_of
from ..common.reached_nodes import WORLD_OUTPUT, reached_nodes
from .world import background_of, constant_world

LEAST_CONTRAST = 0.05  # of a light's standard deviation over directions to its mean; a white room has 0.3


def reference_light(choice: str, learn_light: bool, world: bpy.types.World | None) -> str:
    """SCENE, STUDIO or BOTH. A light that is learned is the scene's, so its world has to be in the references; Studio's are
    known beside it, and tell the color of the light from that of the surface."""
    if choice != AUTOMATIC:
        return choice
    return STUDIO if not learn_light and what_a_world_lacks(world) else BOTH


def what_a_world_lacks(world: bpy.types.World | None) -> str:
    """Why a world surely tells little of a material, as the end of a sentence; empty where nothing is wrong with it."""
    if world is None:
        return "there is no world"
    if world.is_missing:
        return "its world is missing"
    if is_black(world):
        return "its world is black"
    if constant_world(world) is not None:
        return "its world is the same in every direction"
    return ""


def what_a_light_lacks(radiance: NDArray[np.float32]) -> str:
    """The same of a light float32 [H, W, 3], equirectangular, that is finite."""
    rows = np.cos((0.5 - (np.arange(len(radiance)) + 0.5) / len(radiance)) * np.pi)[:, None]
    gray = radiance.astype(np.float64).mean(axis=-1)
    weights = np.broadcast_to(rows, gray.shape)
    mean = float((gray * weights).sum() / weights.sum())
    if mean <= 0.0:
        return "its world is black"
    deviation = float((np.square(gray - mean) * weights).sum() / weights.sum()) ** 0.5
    return "its world is the same in every direction" if deviation < LEAST_CONTRAST * mean else ""


def is_black(world: bpy.types.World) -> bool:
    """Whether a world surely gives no light."""
    if not any(constant_world(world) or (1.0,)):
        return True
    background = background_of(world)
    if background is not None:
        strength = background.inputs["Strength"]
        return bool(not strength.is_linked and strength.default_value == 0.0)
    tree = tree_of(world)
    return tree is not None and not any(item.outputs for item in reached_nodes(tree, WORLD_OUTPUT, only_surface))


def only_surface(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input of the output node is its surface; true for other nodes."""
    return bool(node.bl_idname != WORLD_OUTPUT or socket.identifier == "Surface")
