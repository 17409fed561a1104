"""What the tab says of the light of the references, and how long it takes to render them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.blender.scenes import hdri_world

bpy = pytest.importorskip("bpy")


def test_the_tab_says_what_lights_the_references(addon) -> None:
    light_text = addon.ui.facts.light_text
    settings = bpy.context.scene.pbrfit
    hdri_world()
    assert light_text(bpy.context) == "Forest and Studio light"
    settings.learn_light = True
    assert light_text(bpy.context) == "Forest and Studio light"
    settings.learn_light = False
    settings.reference_light = "SCENE"
    assert light_text(bpy.context) == "Forest"
    settings.reference_light = "STUDIO"
    assert light_text(bpy.context) == "Studio light"
    bpy.context.scene.world = None
    settings.reference_light = "AUTOMATIC"
    assert light_text(bpy.context) == "Studio light: there is no world"


def settings(start: str, rounds: int, learn_light: bool = False, reference_light: str = "AUTOMATIC") -> SimpleNamespace:
    return SimpleNamespace(start=start, rounds=rounds, learn_light=learn_light, reference_light=reference_light)


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
    assert addon.session.estimates.renders(settings(start, rounds)) == expected


def test_a_light_that_is_learned_is_not_corrected_and_studio_light_is_never_learned(addon) -> None:
    corrections = addon.session.estimates.corrections
    assert corrections(settings("BAKE", 2, learn_light=True)) == 0
    assert corrections(settings("BAKE", 2, learn_light=True, reference_light="STUDIO")) == 2
