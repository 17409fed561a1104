"""What the tab says of the light of the references, and how long it takes to render them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.blender.scenes import hdri_world

bpy = pytest.importorskip("bpy")


def test_the_tab_says_what_lights_the_references(addon) -> None:
    light_text = addon.ui.panels.light_text
    settings = bpy.context.scene.pbrfit
    hdri_world()
    assert light_text(bpy.context) == "Forest and Studio light"
    settings.learn_light = True
    assert light_text(bpy.context) == "Forest"
    settings.learn_light = False
    settings.reference_light = "SCENE"
    assert light_text(bpy.context) == "Forest"
    settings.reference_light = "STUDIO"
    assert light_text(bpy.context) == "Studio light"
    bpy.context.scene.world = None
    settings.reference_light = "AUTOMATIC"
    assert light_text(bpy.context) == "Studio light: there is no world"


@pytest.mark.parametrize(
    ("start", "rounds", "expected"),
    [
        ("BAKE", 0, 1.0),
        ("GRAY", 0, 1.0),
        # Half of the views twice with half the samples; the other half so too, and the fit in the first half.
        ("BAKE", 1, 0.5 + 0.5 + 0.25),
        ("BAKE", 2, 0.5 + 0.5 + 0.25 + 0.5),
        # Half of the views; the other half, and the fit in all of them.
        ("GRAY", 1, 0.5 + 0.5 + 1.0),
    ],
)
def test_renders_are_counted_with_corrections(addon, start, rounds, expected) -> None:
    assert addon.ui.estimates.renders(SimpleNamespace(start=start, rounds=rounds)) == expected
