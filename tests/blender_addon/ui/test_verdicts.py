"""The verdict is kept with the material, and one click does what it proposes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.blender.assigning import png
from support.blender.bake_steps import chessboard_cube, small_bake, start_bake
from support.blender.scenes import ready_cube, small_fit
from support.blender.session_steps import finish

bpy = pytest.importorskip("bpy")

FILES = {f"{key}.png": png(np.full((4, 4, 3), 10, dtype=np.uint8)) for key in ("kd", "orm")}
POOR = {
    "kind": "fit",
    "compared": [{"kept": "FIT", "scores": {"own": {"fit_db": 18.9}}}],
    "nodes": {"Paint": {"kind": "EXACT", "lost": ["a coat"], "keeper": "GLTF"}, "Other": {"kind": "VIEW", "lost": []}},
}


@pytest.fixture
def fitted(addon):
    """A cube with a fitted material that is 18.9 dB from its original."""
    cube = ready_cube()
    small_fit()
    bpy.context.scene.pbrfit.start = "BAKE"
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    options = addon.assign.materials.AssignOptions.from_scene(bpy.context.scene)
    for _ in addon.assign.materials.assignment_steps(plan, FILES, POOR, options):
        pass
    return cube


def judged(addon) -> list:
    targets = addon.ui.operators_result.fitted_targets(bpy.context)
    return [
        (material.name, verdict.grade, verdict.remedy)
        for material, verdict in addon.ui.operators_verdict.judged(targets)
    ]


def test_the_verdict_stays_with_the_material(addon, fitted, tmp_path) -> None:
    assert judged(addon) == [("Paint PBRfit", "POOR", "GLTF")]
    bpy.ops.pbrfit.compare()
    assert judged(addon) == [("Paint PBRfit", "POOR", "GLTF")]  # also while the original is shown
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert judged(addon) == [("Paint PBRfit", "POOR", "GLTF")]
    bpy.ops.pbrfit.revert()
    assert judged(addon) == []


def test_a_material_knows_only_its_own_nodes(addon, fitted) -> None:
    record = addon.common.records.record_of(fitted.active_material)
    assert list(record["nodes"]) == ["Paint"]
    assert record["numbers"] == [0]


def test_numbers_are_under_the_mouse_and_in_no_line(addon, fitted) -> None:
    operators = addon.ui.operators_verdict
    lines = operators.lines_of(fitted.active_material)
    assert any("18.9 dB" in line for line in lines[1:])
    assert "dB" not in lines[0]
    properties = type("Properties", (), {"material": "Paint PBRfit"})
    shown = operators.PBRFIT_OT_show_verdict.description(bpy.context, properties)
    assert "18.9 dB" in shown


def test_the_remedy_starts_again_from_the_original(addon, fitted) -> None:
    assert bpy.ops.pbrfit.remedy(remedy="GLTF") == {"FINISHED"}
    session = addon.session.session.current()
    assert session.noun == "fit"
    assert fitted.active_material.name == "Paint"
    assert bpy.context.scene.pbrfit.bake_target == "GLTF"
    with pytest.raises(RuntimeError, match="A fit is running"):
        bpy.ops.pbrfit.remedy(remedy="HIGH")
    session.cancel()


def test_the_bake_can_be_kept(addon, fitted) -> None:
    assert bpy.ops.pbrfit.remedy(remedy="KEEP_BAKE") == {"FINISHED"}
    session = addon.session.session.current()
    assert session.noun == "bake"
    finish(session)
    assert judged(addon)[0][1] == "GOOD"


def test_what_cannot_start_leaves_what_is_shown(addon, fitted) -> None:
    bpy.context.scene.world = None
    record = addon.common.records.record_of(fitted.active_material)
    record["scene_settings"]["reference_light"] = "SCENE"
    fitted.active_material["pbrfit"] = json.dumps(record)
    with pytest.raises(RuntimeError, match="no world"):
        bpy.ops.pbrfit.remedy(remedy="GLTF")
    assert fitted.active_material.name == "Paint PBRfit"


def test_a_bake_tells_how_exact_it_is(addon) -> None:
    small_bake()
    cube = chessboard_cube()
    cube.active_material.node_tree.nodes["Principled BSDF"].inputs["Coat Weight"].default_value = 1.0
    finish(start_bake(addon))
    assert judged(addon) == [("Paint PBRfit", "FAIR", "GLTF")]
    assert bpy.ops.pbrfit.remedy(remedy="GLTF") == {"FINISHED"}
    finish(addon.session.session.current())
    assert judged(addon)[0][1:] == ("GOOD", "")


@pytest.mark.parametrize(
    "record", ["no JSON", "[]", '{"compared": 3}', '{"compared": [{"kept": "FIT"}]}', 7, '{"seconds": "?"}']
)
def test_a_record_that_somebody_has_changed_is_no_reason_to_draw_nothing(addon, fitted, record) -> None:
    fitted.active_material["pbrfit"] = record
    (found,) = judged(addon)
    assert found[1:] == ("UNKNOWN", "")
    assert "cannot be read" in addon.ui.operators_verdict.lines_of(fitted.active_material)[0]
    assert addon.export.plan.set_name(fitted.active_material) == "Paint PBRfit"
    with pytest.raises(RuntimeError, match="no longer says which settings"):
        bpy.ops.pbrfit.fit_again()
    assert fitted.active_material["pbrfit"] == record  # nothing is changed
