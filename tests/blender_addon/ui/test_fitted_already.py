"""An object that is fitted already: it is said, and the next fit begins with the original."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.preflight_findings import quick, with_text
from support.blender.scenes import ready_cube, small_fit

bpy = pytest.importorskip("bpy")


@pytest.fixture
def files() -> dict[str, bytes]:
    return {f"{key}.png": png(np.full((4, 4, 3), value, dtype=np.uint8)) for key, value in (("kd", 10), ("orm", 20))}


def test_what_is_fitted_already_is_said(addon, files) -> None:
    ready_cube()
    assert quick(addon) == []
    assign(addon, files)
    assert with_text(quick(addon), "fitted already").level == "WARNING"
    bpy.ops.pbrfit.compare()
    assert quick(addon) == []


@pytest.mark.parametrize("button", ["optimize", "bake_maps"])
def test_a_fit_begins_with_the_original_unless_it_is_told_otherwise(addon, files, button) -> None:
    cube = ready_cube()
    small_fit()
    assign(addon, files)
    assert getattr(bpy.ops.pbrfit, button)(source="SHOWN") == {"FINISHED"}
    assert cube.active_material.name == "Paint PBRfit"
    addon.session.session.current().cancel()
    assert getattr(bpy.ops.pbrfit, button)() == {"FINISHED"}
    assert cube.active_material.name == "Paint"
    addon.session.session.current().cancel()


def test_a_fit_that_cannot_start_shows_again_what_was_shown(addon, files) -> None:
    cube = ready_cube()
    small_fit()
    assign(addon, files)
    bpy.context.scene.pbrfit.material_name = "{nonsense}"
    with pytest.raises(RuntimeError, match="naming scheme"):
        bpy.ops.pbrfit.optimize()
    assert cube.active_material.name == "Paint PBRfit"
