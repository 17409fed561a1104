"""What the nodes have and the new material cannot keep is said before the click, with the click that keeps it."""

from __future__ import annotations

import pytest
from support.blender.preflight_findings import full, press, quick, with_text
from support.blender.scenes import paint, ready_cube, small_fit

bpy = pytest.importorskip("bpy")

LOST = "cannot keep"


@pytest.fixture
def inputs(addon):
    return ready_cube().active_material.node_tree.nodes["Principled BSDF"].inputs


@pytest.mark.parametrize(
    ("name", "value", "words", "keeper"),
    [
        ("Coat Weight", 1.0, "a coat", "GLTF"),
        ("Sheen Weight", 0.5, "sheen", "GLTF"),
        ("Anisotropic", 0.5, "an anisotropic reflection", "GLTF"),
        ("Subsurface Weight", 1.0, "subsurface scattering", "PRINCIPLED"),
    ],
)
def test_a_lobe_that_core_lacks_is_said_and_kept_by_one_click(addon, inputs, name, value, words, keeper) -> None:
    assert quick(addon) == []
    inputs[name].default_value = value
    finding = with_text(full(addon), LOST)
    assert finding.level == "WARNING"
    assert finding.cause == f'The material "Paint" has {words}, which Core cannot keep.'
    assert quick(addon) == [finding]
    press(finding)
    assert bpy.context.scene.pbrfit.bake_target == keeper
    assert quick(addon) == []


def test_all_of_it_is_one_line(addon, inputs) -> None:
    for name in ("Coat Weight", "Sheen Weight", "Subsurface Weight"):
        inputs[name].default_value = 1.0
    finding = with_text(full(addon), LOST)
    assert "a coat, sheen and subsurface scattering, which" in finding.cause
    press(finding)
    assert bpy.context.scene.pbrfit.bake_target == "PRINCIPLED"


def test_glass_is_said_once_and_kept_by_the_same_click(addon, inputs) -> None:
    inputs["Transmission Weight"].default_value = 1.0
    (finding,) = full(addon)
    assert "see-through like glass" in finding.cause
    press(finding)
    assert full(addon) == []


def test_emission_is_lost_only_where_a_fit_begins_with_gray(addon, inputs) -> None:
    inputs["Emission Color"].default_value = (1.0, 0.5, 0.1, 1.0)
    inputs["Emission Strength"].default_value = 2.0
    assert full(addon) == []
    small_fit()
    finding = with_text(full(addon), "emission, which a fit that does not begin with the bake cannot keep")
    press(finding)
    settings = bpy.context.scene.pbrfit
    assert (settings.start, settings.bake_target) == ("BAKE", "CORE")
    assert full(addon) == []


def test_what_the_fit_makes_up_for_is_not_said(addon, inputs) -> None:
    inputs["Specular IOR Level"].default_value = 0.2
    assert full(addon) == []


def test_each_material_has_its_line_and_the_click_keeps_all(addon, inputs) -> None:
    inputs["Coat Weight"].default_value = 1.0
    cube = bpy.context.object
    paint(cube, "Skin").node_tree.nodes["Principled BSDF"].inputs["Subsurface Weight"].default_value = 1.0
    cube.data.polygons[0].material_index = 1
    first, second = (finding for finding in full(addon) if LOST in finding.cause)
    assert '"Paint" has a coat' in first.cause
    assert '"Skin" has subsurface' in second.cause
    press(first)
    assert bpy.context.scene.pbrfit.bake_target == "PRINCIPLED"
