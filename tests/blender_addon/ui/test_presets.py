"""Presets: those of PBRfit, the artist's own, and the state in which the settings are those of none."""

from __future__ import annotations

from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")


@pytest.fixture
def settings(addon):
    yield bpy.context.scene.pbrfit
    for folder in bpy.utils.preset_paths("pbrfit"):
        for path in Path(folder).glob("*.py"):
            path.unlink()


def shown(addon) -> str:
    return addon.ui.preset_menu.shown_name(bpy.context.scene.pbrfit)


def test_a_preset_of_pbrfit_is_chosen_by_name(addon, settings) -> None:
    assert shown(addon) == "Standard"
    assert bpy.ops.pbrfit.use_preset(preset="DRAFT") == {"FINISHED"}
    assert (shown(addon), settings.quality) == ("Draft", "draft")
    settings.views += 1
    assert shown(addon) == "Custom"
    properties = type("Properties", (), {"preset": "HIGH"})
    assert "best maps" in addon.ui.preset_menu.PBRFIT_OT_use_preset.description(bpy.context, properties)


def test_presets_of_ones_own_are_kept_used_and_removed(addon, settings) -> None:
    settings.views, settings.bake_target, settings.use_alpha, settings.material_name = (
        77,
        "GLTF",
        True,
        "{object} {material}",
    )
    settings.resolution, settings.map_shape, settings.start, settings.use_height = 256, "2:1", "GRAY", True
    assert bpy.ops.pbrfit.add_preset(name="Game Props") == {"FINISHED"}
    assert shown(addon) == "Game Props"
    kept = addon.settings.properties.scene_values(settings)
    bpy.ops.pbrfit.use_preset(preset="STANDARD")
    assert (settings.resolution, settings.map_shape) == (1024, "2:1")  # PBRfit's own presets leave the shape as it is
    settings.bake_target, settings.use_alpha = "CORE", False
    settings.map_shape, settings.start, settings.use_height = "1:1", "BAKE", False
    assert shown(addon) == "Standard"
    (path,) = (path for folder in bpy.utils.preset_paths("pbrfit") for path in Path(folder).glob("*.py"))
    assert bpy.ops.script.execute_preset(filepath=str(path), menu_idname="PBRFIT_MT_presets") == {"FINISHED"}
    assert addon.settings.properties.scene_values(settings) == kept
    assert shown(addon) == "Game Props"
    assert bpy.ops.pbrfit.add_preset(name="Game Props", remove_name=True) == {"FINISHED"}
    assert shown(addon) == "Custom"
    assert not path.exists()


def test_a_preset_of_ones_own_has_every_setting(addon, settings) -> None:
    assert bpy.ops.pbrfit.add_preset(name="All") == {"FINISHED"}
    assert addon.ui.preset_menu.own_presets()["All"] == addon.settings.properties.scene_values(settings)


def test_a_file_that_is_no_preset_hides_none(addon, settings) -> None:
    bpy.ops.pbrfit.add_preset(name="Mine")
    (folder,) = bpy.utils.preset_paths("pbrfit")
    (Path(folder) / "odd.py").write_text("settings.views = open('x')\nnonsense\n")
    assert shown(addon) == "Mine"
    assert addon.ui.preset_menu.own_presets()["odd"] == {}
