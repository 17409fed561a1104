# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the scene's light: its world, its lamps, and what of the world one light for the fit cannot show."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from ..common.node_trees import tree_of, world_of
from ..common.reached_nodes import WORLD_OUTPUT, kinds_in, label_of, reached_nodes
from .finding import ERROR, WARNING, Finding
from .libraries import library_findings


def world_findings(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> Iterator[Finding]:
    """The world's light, and lamps that the fit ignores."""
    world = world_of(scene, layer)
    if world is None:
        cause = "The scene has no world, so nothing lights the object for the fit."
        cure = "Add a world in the World properties, best with an Environment Texture."
        yield Finding(ERROR, cause, cure, "pbrfit.add_world")
    else:
        yield from library_findings(world, WORLD_OUTPUT, "world")
        if not world.is_missing:
            yield from tree_findings(world)
    if bpy.data.lights and any(item.type == "LIGHT" and not item.hide_render for item in scene.objects):
        cure = "Put the important light into the world if the result looks wrong."
        yield Finding(WARNING, "The fit ignores lamps: only the world lights the object.", cure)


def tree_findings(world: bpy.types.World) -> Iterator[Finding]:
    """What the node tree of a world tells."""
    tree = tree_of(world)
    fog = [item.node for item in reached_nodes(tree, WORLD_OUTPUT, only_volume) if item.outputs]
    if fog:
        cause = f'The world "{world.name}" has fog by the node "{label_of(fog[0])}", which PBRfit leaves out.'
        yield Finding(WARNING, cause, "Unlink the world's volume if you want to see the object as the fit does.")
    for item in reached_nodes(tree, WORLD_OUTPUT) if "ShaderNodeLightPath" in kinds_in(tree) else ():
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
