"""All scenes by name: what may stand in an artist's file. Each builder fills the empty open file and returns what is fitted."""

from __future__ import annotations

import bpy
from scenes.geometry_nodes import GEOMETRY_NODES
from scenes.modifiers import MODIFIERS
from scenes.objects import OBJECTS, Builder
from scenes.parts import nodes_of
from scenes.shader_nodes import SHADER_NODES

CORPUS: dict[str, Builder] = {**OBJECTS, **MODIFIERS, **SHADER_NODES, **GEOMETRY_NODES}


def build(name: str) -> bpy.types.Object:
    """Build a scene of the corpus in the empty open file, in a grey world."""
    world = bpy.data.worlds.new("World")
    nodes_of(world)
    bpy.context.scene.world = world
    thing = CORPUS[name]()
    bpy.context.view_layer.update()
    return thing
