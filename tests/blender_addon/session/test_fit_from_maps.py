"""A fit that begins with maps that the artist has chosen: it starts at their error, and ends never worse."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from support.blender.assigning import png
from support.blender.drawn_panel import draw
from support.blender.mixed_cube import mixed_cube as make_mixed_cube
from support.blender.mixed_cube import near_enough_at
from support.blender.scenes import add_cube, datablocks, paint
from support.blender.session_steps import failure, finish, start
from support.blender.shader_trees import Tree

RED, GRAY = (200, 40, 30), (128, 128, 128)


@pytest.fixture
def cube(addon, monkeypatch):
    """A cube with red paint, of which no start is near enough, and quick comparisons."""
    made = make_mixed_cube(addon, monkeypatch)
    tree = Tree(made.active_material.node_tree)
    color = ((np.array(RED) / 255 + 0.055) / 1.055) ** 2.4
    tree.input(tree.shader, "Base Color").default_value = (*color, 1.0)
    tree.input(tree.shader, "Roughness").default_value = 0.6
    tree.link(tree.shader, tree.output, "Surface")
    return made


def begin_with(folder, color, roughness: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "paint_albedo.png").write_bytes(png(np.full((8, 8, 3), color, np.uint8)))
    (folder / "paint_gloss.png").write_bytes(png(np.full((8, 8, 3), 255 - roughness, np.uint8)))
    settings = bpy.context.scene.pbrfit
    settings.start, settings.start_maps, settings.rounds = "MAPS", str(folder), 0


def test_maps_of_the_same_look_are_kept_as_they_are(addon, cube, tmp_path, monkeypatch) -> None:
    near_enough_at(addon, monkeypatch, 38.0)
    begin_with(tmp_path / "maps", RED, 153)
    session = start(addon)
    finish(session)
    (choice,) = session.result.compared
    assert choice["kept"] == "BAKE"
    assert min(score["bake_db"] for score in choice["scores"].values()) > 38.0
    (note,) = [
        note for note in session.result.notes if note.startswith("The fit began with Base Color: paint_albedo.png")
    ]
    assert "Roughness: 1 - paint_gloss.png, red (8 x 8)" in note
    (line, *_) = addon.ui.operators_verdict.verdict_of(cube.active_material).details
    assert line.startswith("Start ")
    assert line.endswith("so near that nothing was fitted")


def test_other_maps_are_where_the_fit_starts_and_the_better_one_is_kept(addon, cube, tmp_path) -> None:
    begin_with(tmp_path / "maps", GRAY, 80)
    session = start(addon)
    finish(session)
    (choice,) = session.result.compared
    kept = f"{choice['kept'].lower()}_db"
    for score in choice["scores"].values():
        assert score["bake_db"] < 25.0  # gray beside red
        assert score[kept] >= score["bake_db"]
    assert choice["kept"] != "BAKE"
    assert min(score[kept] - score["bake_db"] for score in choice["scores"].values()) > 3.0
    # The start is not the bake of the nodes: its values are those of the maps.
    (fit,) = session._queue
    assert not fit.exact
    np.testing.assert_allclose(fit.candidates.baked.recipes[0].constants["Metallic"], 0.0)
    (line, *_) = addon.ui.operators_verdict.verdict_of(cube.active_material).details
    assert line.startswith("Start ")
    assert line.endswith("the fit is kept")


def test_maps_that_cannot_be_are_refused_before_anything_starts(addon, cube, tmp_path) -> None:
    before = datablocks()
    settings = bpy.context.scene.pbrfit
    settings.start = "MAPS"
    for path, match in (("", "No maps are chosen"), (str(tmp_path), "has no images whose names say")):
        settings.start_maps = path
        assert any(match in finding.cause for finding in addon.preflight.checks.quick_findings(bpy.context))
        with pytest.raises(RuntimeError, match=match):
            bpy.ops.pbrfit.optimize()
    assert datablocks() == before


def test_each_material_begins_with_the_maps_of_its_name(addon, tmp_path) -> None:
    thing = add_cube()
    for number, name in enumerate(("Wood", "Steel")):
        paint(thing, name)
        thing.data.polygons[number].material_index = number
        (tmp_path / f"{name}_roughness.png").write_bytes(png(np.full((4, 4, 3), number, np.uint8)))
    settings = bpy.context.scene.pbrfit
    settings.start, settings.start_maps = "MAPS", str(tmp_path)
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    entries, (note,) = addon.session.prepare.start_maps_of(bpy.context, plan)
    found = [entry["maps"][0]["image"]["name"] for entry in entries]
    assert found == [f"{item.name}_roughness.png" for item in plan.sets]
    assert "Steel: Roughness: Steel_roughness.png" in note
    thing.material_slots[0].material.name = "Glass"
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    with pytest.raises(addon.common.errors.PbrFitError, match=r'maps of several materials.*none is called "Glass"'):
        addon.session.prepare.start_maps_of(bpy.context, plan)


def test_the_panel_says_what_is_taken_as_what(addon, cube, tmp_path) -> None:
    begin_with(tmp_path / "maps", GRAY, 80)
    drawn = draw(addon.ui.settings_panels.PBRFIT_PT_settings)
    assert {"start_maps", "start_layout", "start_normals"} <= set(drawn.names("property"))
    said = " ".join(drawn.lines)
    assert "Base Color: paint_albedo.png (8 x 8)" in said
    assert "Roughness: 1 - paint_gloss.png, red (8 x 8)" in said


def test_a_damaged_map_ends_the_fit_with_its_name(addon, cube, tmp_path) -> None:
    begin_with(tmp_path / "maps", GRAY, 80)
    whole = (tmp_path / "maps" / "paint_albedo.png").read_bytes()
    (tmp_path / "maps" / "paint_albedo.png").write_bytes(whole[:45] + b"\0" * (len(whole) - 57) + whole[-12:])
    assert "paint_albedo.png is damaged" in failure(start(addon))
