"""What the artist does with baked materials: compare, revert, bake again, save the maps; and what the panel lists before."""

from __future__ import annotations

import json

import pytest
from support.blender.bake_steps import chessboard_cube, small_bake, start_bake
from support.blender.scenes import add_cube, paint, snapshot
from support.blender.session_steps import finish

bpy = pytest.importorskip("bpy")


@pytest.fixture
def baked_cube(addon):
    """A cube with a baked material; `before` in it: what the file was like."""
    small_bake()
    cube = chessboard_cube()
    before = snapshot()
    finish(start_bake(addon))
    return cube, before


def test_compare_and_revert(addon, baked_cube) -> None:
    cube, before = baked_cube
    assert cube.active_material.name == "Paint PBRfit"
    bpy.ops.pbrfit.compare()
    assert cube.active_material.name == "Paint"
    bpy.ops.pbrfit.compare()
    assert cube.active_material.name == "Paint PBRfit"
    bpy.ops.pbrfit.revert()
    assert snapshot() == before


def test_bake_again_takes_the_settings_of_the_record(addon, baked_cube) -> None:
    cube, _ = baked_cube
    settings = bpy.context.scene.pbrfit
    settings.bake_target, settings.supersampling, settings.resolution = "PRINCIPLED", "4", 2048
    assert bpy.ops.pbrfit.fit_again() == {"FINISHED"}
    session = addon.session.session.current()
    assert isinstance(session, addon.session.bake_session.BakeSession)
    plan = session.result.plan
    assert (plan["target"], plan["supersampling"], plan["resolution"]) == ("CORE", 1, 64)
    assert cube.active_material.name == "Paint"  # what is baked is the original
    with pytest.raises(RuntimeError, match="A bake is running"):
        bpy.ops.pbrfit.fit_again()
    finish(session)
    assert cube.active_material.name.startswith("Paint PBRfit")
    assert len([item for item in bpy.data.materials if "pbrfit" in item]) == 1


def test_a_bake_and_a_fit_of_one_object_know_what_they_are(addon, baked_cube) -> None:
    cube, _ = baked_cube
    result = addon.ui.operators_result
    assert addon.common.records.is_baked(result.last_material([cube]))
    material = cube.active_material
    record = {**addon.common.records.record_of(material)}
    del record["kind"]  # as earlier versions wrote it
    material["pbrfit"] = json.dumps(record)
    assert not addon.common.records.is_baked(material)


def test_save_maps(addon, baked_cube, tmp_path) -> None:
    assert bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps")) == {"FINISHED"}
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["Paint_PBRfit_Base_Color.png"]


def test_maps_that_undo_took_out_of_the_file_can_be_saved(addon, baked_cube, tmp_path) -> None:
    bpy.ops.pbrfit.revert()
    assert bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps")) == {"FINISHED"}
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["Paint_Base_Color.png"]


def test_the_panel_lists_what_is_worst_first_and_nothing_of_its_own(addon, baked_cube) -> None:
    cube, _ = baked_cube
    other = add_cube()
    paint(other, "Plain")
    tree = paint(other, "Shot").node_tree
    weight = tree.nodes.new("ShaderNodeLayerWeight")
    tree.links.new(weight.outputs["Facing"], tree.nodes["Principled BSDF"].inputs["Roughness"])
    for polygon in list(other.data.polygons)[:3]:
        polygon.material_index = 1
    cube.select_set(True)
    bpy.context.view_layer.update()
    shown = addon.ui.bake_verdicts.shown_materials(bpy.context)
    assert [material.name for material in shown] == ["Shot", "Plain"]
    other.modifiers.new("Nodes", "NODES").node_group = bpy.data.node_groups.new("Any", "GeometryNodeTree")
    assert len(addon.ui.bake_verdicts.shown_materials(bpy.context)) == 2  # then the slots tell
