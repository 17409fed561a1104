# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the scene's light: its world, its lamps, and what of the world one light for the fit cannot show."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from ..common.light_names import SCENE, STUDIO
from ..common.node_trees import tree_of, world_of
from ..common.reached_nodes import WORLD_OUTPUT, kinds_in, label_of, reached_nodes
from ..export.reference_light import is_black, reference_light
from ..export.world import constant_world, lights_all_rays
from .finding import ERROR, WARNING, Finding
from .libraries import library_findings

# Outputs that change with the camera, by their identifiers.
CAMERA_OUTPUTS = {
    "ShaderNodeTexCoord": {"Window", "Camera"},
    "ShaderNodeCameraData": {"View Vector", "View Z Depth", "View Distance"},
}
LOOKED_AT = {*CAMERA_OUTPUTS, "ShaderNodeLightPath"}
USE_STUDIO, FIX = "use Studio light.", "pbrfit.use_studio_light"


def world_findings(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> Iterator[Finding]:
    """What of the scene's light the references would show, and what tells too little to fit to.

    In Studio light nothing of the scene matters. Nor does it with Automatic where the world gives too little.
    """
    world = world_of(scene, layer)
    light = reference_light(scene.pbrfit.reference_light, scene.pbrfit.learn_light, world)
    if light == STUDIO:
        return
    if world is None:
        cause = "The scene has no world, so nothing lights the object for the fit."
        yield Finding(ERROR, cause, f"Add a world in the World properties, or {USE_STUDIO}", FIX)
    else:
        yield from library_findings(world, WORLD_OUTPUT, "world")
        if not world.is_missing:
            yield from light_findings(world, light == SCENE)
            yield from tree_findings(world)
    lamps = (item for item in scene.objects if item.type == "LIGHT" and not item.hide_render)
    if light == SCENE and bpy.data.lights and any(lamps):
        cure = "Put the important light into the world if the result looks wrong."
        yield Finding(WARNING, "The fit ignores lamps: only the world lights the object.", cure)


def light_findings(world: bpy.types.World, is_alone: bool) -> Iterator[Finding]:
    """Whether a world gives light that tells something, if it is the only light, and to surfaces of every kind."""
    if is_black(world):
        cure = f"Give it a color or image and a strength (the fit ignores lamps and glowing objects), or {USE_STUDIO}"
        yield Finding(ERROR, "The world gives no light: it is black.", cure, FIX)
    elif is_alone and constant_world(world) is not None:
        cause = "The world is the same in every direction: in it metal and paint look alike."
        yield Finding(WARNING, cause, f"Light it with an image, or {USE_STUDIO}", FIX)
    if not lights_all_rays(world):
        cause = f'The world "{world.name}" does not light all kinds of surfaces (World > Ray Visibility).'
        yield Finding(WARNING, cause, "The fit is lit by it all the same. Turn Diffuse and Glossy on to see that.")


def tree_findings(world: bpy.types.World) -> Iterator[Finding]:
    """What the node tree of a world tells."""
    tree = tree_of(world)
    fog = [item.node for item in reached_nodes(tree, WORLD_OUTPUT, only_volume) if item.outputs]
    if fog:
        cause = f'The world "{world.name}" has fog by the node "{label_of(fog[0])}", which PBRfit leaves out.'
        yield Finding(WARNING, cause, "Unlink the world's volume if you want to see the object as the fit does.")
    reached = [] if kinds_in(tree).isdisjoint(LOOKED_AT) else reached_nodes(tree, WORLD_OUTPUT)
    seen_from = [
        label_of(item.node) for item in reached if item.outputs & CAMERA_OUTPUTS.get(item.node.bl_idname, set())
    ]
    if seen_from:
        cause = f'The world "{world.name}" changes with the camera by the node "{seen_from[0]}".'
        yield Finding(WARNING, cause, "The fit has one light for all views. Use the coordinates Generated there.")
    for item in reached:
        if item.node.bl_idname != "ShaderNodeLightPath":
            continue
        shown = [socket.name for socket in item.node.outputs if socket.identifier in item.outputs]
        kinds = [name for name in shown if name != "Is Camera Ray"]
        if kinds:
            cause = f'The world "{world.name}" lights by kind of ray: the node "{label_of(item.node)}" ({", ".join(kinds)}).'
            yield Finding(
                WARNING, cause, "The fit has one light for all of them. Unlink these outputs if that looks wrong."
            )


def only_volume(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether an input of the output node is its volume; true for other nodes."""
    return bool(node.bl_idname != WORLD_OUTPUT or socket.identifier == "Volume")
