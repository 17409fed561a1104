"""Which light the references are in: the scene's where it tells something, and Studio's."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import hdri_world

bpy = pytest.importorskip("bpy")


@pytest.fixture
def lights(addon):
    """The module that decides."""
    return addon.export.reference_light


def flat_world(color: tuple[float, float, float, float]) -> bpy.types.World:
    """A world of one color."""
    hdri_world()
    world = bpy.context.scene.world
    tree = world.node_tree
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    tree.links.remove(background.inputs["Color"].links[0])
    background.inputs["Color"].default_value = color
    return world


def test_automatic_uses_both_where_the_world_tells_something(lights) -> None:
    hdri_world()
    world = bpy.context.scene.world
    assert lights.what_a_world_lacks(world) == ""
    assert lights.reference_light("AUTOMATIC", False, world) == "BOTH"
    assert lights.reference_light("SCENE", False, world) == "SCENE"
    assert lights.reference_light("STUDIO", False, world) == "STUDIO"
    assert (
        lights.reference_light("AUTOMATIC", True, world) == "BOTH"
    )  # a light that is learned, and known ones beside it
    assert lights.reference_light("SCENE", True, world) == "SCENE"
    assert lights.reference_light("STUDIO", True, world) == "STUDIO"  # and Studio's is known


@pytest.mark.parametrize("color", [None, (0.0, 0.0, 0.0, 1.0), (0.05, 0.05, 0.05, 1.0)])
def test_automatic_is_studio_where_it_does_not(lights, color) -> None:
    world = None if color is None else flat_world(color)
    assert lights.what_a_world_lacks(world) != ""
    assert lights.reference_light("AUTOMATIC", False, world) == "STUDIO"
    assert lights.reference_light("SCENE", False, world) == "SCENE"


def test_what_a_rendered_light_lacks(lights) -> None:
    flat = np.full((16, 32, 3), 0.4, np.float32)
    assert "black" in lights.what_a_light_lacks(np.zeros_like(flat))
    assert "same in every direction" in lights.what_a_light_lacks(flat)
    sky = flat.copy()
    sky[:8] *= 2.0
    assert lights.what_a_light_lacks(sky) == ""
