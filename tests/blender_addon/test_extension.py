"""The installed extension: what runs, and that installing and removing it leaves no trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")


def test_what_runs_is_the_installed_zip(addon) -> None:
    import bl_ext.user_default.pbrfit as installed

    assert Path(installed.__file__).is_relative_to(bpy.utils.resource_path("USER"))
    assert "blender_addon" not in sys.modules


def test_disabling_leaves_nothing_behind(addon) -> None:
    def registered() -> list[str]:
        found = [name for name in dir(bpy.types) if name.lower().startswith("pbrfit")]
        found += [name for name in ("pbrfit",) if hasattr(bpy.types.Scene, name)]
        return found + dir(bpy.ops.pbrfit)

    poll_session = addon.ui.operators.poll_session
    assert {"PBRFIT_OT_optimize", "PBRFIT_PT_fit", "pbrfit", "optimize"} <= set(registered())
    addon.ui.operators.start_timer()
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=addon.name)
        assert registered() == []
        assert not bpy.app.timers.is_registered(poll_session)
        bpy.ops.preferences.addon_enable(module=addon.name)
        assert "optimize" in registered()


def test_every_operator_and_setting_has_a_tooltip_in_blenders_style(addon) -> None:
    settings = [item for item in bpy.context.scene.pbrfit.bl_rna.properties if item.identifier != "rna_type"]
    preferences = [item for item in addon.preferences.bl_rna.properties if item.identifier.startswith("backend_")]
    operators = [getattr(bpy.ops.pbrfit, name).get_rna_type() for name in dir(bpy.ops.pbrfit)]
    assert {"quality", "resolution"} <= {item.identifier for item in settings}
    assert {"backend_python", "backend_address", "backend_key"} <= {item.identifier for item in preferences}
    assert {"PBRFIT_OT_optimize", "PBRFIT_OT_cancel", "PBRFIT_OT_revert"} <= {item.identifier for item in operators}
    for item in [*settings, *operators, *preferences]:
        if item.identifier != "name":
            assert item.description, item.identifier
            assert not item.description.endswith("."), item.identifier


def test_resolution_is_rounded_to_a_power_of_two(addon) -> None:
    settings = bpy.context.scene.pbrfit
    for given, kept in ((1000, 1024), (512, 512), (700, 512), (1, 16), (100000, 8192)):
        settings.resolution = given
        assert settings.resolution == kept
