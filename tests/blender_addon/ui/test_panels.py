"""The tab holds still: the large button on top, one line for each fact and warning, and no words that nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.drawn_panel import draw
from support.blender.scenes import paint, ready_cube, small_fit
from support.blender.session_steps import failure, poll_until, start

bpy = pytest.importorskip("bpy")

FILES = {f"{key}.png": png(np.full((4, 4, 3), 10, dtype=np.uint8)) for key in ("kd", "orm", "normal")}
RECORD = {"kind": "fit", "compared": [{"kept": "FIT", "scores": {"own": {"fit_db": 18.9}}}], "scene_settings": {}}
JARGON = ("sample table", "iteration", "openness", "held-out", "held out", "mib", "db", "psnr", "custom properties")


def tab(addon, **values):
    return draw(addon.ui.panels.PBRFIT_PT_fit, **values)


def words_of(drawn) -> str:
    return f" {' '.join(drawn.lines).lower()} "


@pytest.fixture
def cube(addon):
    scene_object = ready_cube()
    small_fit()
    return scene_object


def test_the_large_button_is_first_whatever_there_is_to_say(addon, cube) -> None:
    ready = tab(addon)
    cube.active_material.node_tree.nodes["Principled BSDF"].inputs["Coat Weight"].default_value = 1.0
    warned = tab(addon)
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    hindered = tab(addon)
    bpy.context.view_layer.objects.active = None
    cube.select_set(False)
    nothing = tab(addon)
    first = [item[:4] for item in (ready.names("operator"), warned.names("operator"), hindered.names("operator"))]
    assert {names[0] for names in first} == {"pbrfit.optimize"}
    assert nothing.names("operator")[0] == "pbrfit.optimize"
    # Up to the bake nothing comes between: no button moves.
    tops = [drawn.order[: drawn.order.index(("operator", "pbrfit.bake_maps"))] for drawn in (ready, warned, hindered)]
    assert len({tuple(kind for kind, _ in top) for top in tops}) == 1


def test_a_warning_is_one_line_that_opens_to_its_cure_and_button(addon, cube) -> None:
    cube.active_material.node_tree.nodes["Principled BSDF"].inputs["Coat Weight"].default_value = 1.0
    closed, opened = tab(addon), tab(addon, open_lines=True)
    assert "Loses a coat" in closed.lines
    assert "pbrfit.keep_lobes" not in closed.names("operator")
    assert "pbrfit.keep_lobes" in opened.names("operator")
    assert "cannot keep" in words_of(opened)
    assert len(closed.lines) < len(opened.lines)


def test_what_stops_a_fit_is_open_and_comes_before_what_may_spoil_it(addon, cube) -> None:
    cube.active_material.node_tree.nodes["Principled BSDF"].inputs["Coat Weight"].default_value = 1.0
    bpy.context.scene.pbrfit.material_name = "{nonsense}"
    said = " ".join(tab(addon).lines)
    error, warning = said.index('PBRfit cannot use the naming scheme "{nonsense}".'), said.index("Loses a coat")
    assert "Use only {object}" in said[error:warning]
    bpy.context.scene.pbrfit.material_name = "{material}"
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    assert "pbrfit.unwrap" in tab(addon).names("operator")


def test_the_verdict_and_its_remedy_are_drawn_and_gone_after_revert(addon, cube) -> None:
    assign(addon, FILES, RECORD)
    drawn = tab(addon)
    assert "Poor" in drawn.lines
    assert {"pbrfit.show_verdict", "pbrfit.compare", "pbrfit.revert", "pbrfit.save_maps"} <= set(
        drawn.names("operator")
    )
    assert "Cube is fitted already" in drawn.lines
    assert "pbrfit.show_result" not in drawn.names("operator")
    assert "pbrfit.show_result" in tab(addon, shading="SOLID").names("operator")
    bpy.ops.pbrfit.revert()
    words = words_of(tab(addon))
    assert "poor" not in words
    assert "assigned" not in words


def test_no_words_that_nobody_knows(addon, cube) -> None:
    paint(cube, "Other")
    assign(addon, FILES, RECORD)
    shown = [tab(addon, open_lines=True)]
    shown += [
        draw(panel) for panel in (addon.ui.settings_panels.PBRFIT_PT_settings, addon.ui.settings_panels.PBRFIT_PT_maps)
    ]
    bpy.ops.pbrfit.revert()
    session = start(addon)
    poll_until(session, lambda status: status.state == "fitting")
    shown.append(tab(addon))
    assert shown[-1].order[0][0] == "progress"
    session.cancel()
    for drawn in shown:
        words = words_of(drawn)
        assert [word for word in JARGON if f" {word} " in words] == []


def test_the_maps_panel_has_what_makes_a_uv_map_for_them(addon, cube) -> None:
    drawn = draw(addon.ui.settings_panels.PBRFIT_PT_maps)
    assert {"pbrfit.unwrap", "pbrfit.pack_islands"} <= set(drawn.names("operator"))
    assert "margin" not in drawn.names("property")
    bpy.context.scene.pbrfit.margin_type = "WIDTH"
    assert {"margin_type", "margin"} <= set(draw(addon.ui.settings_panels.PBRFIT_PT_maps).names("property"))


def test_what_shares_a_set_of_maps_is_said(addon, cube) -> None:
    assert "set of maps" not in words_of(tab(addon))
    paint(cube, "Other")
    assert "one set of maps for each of 2 materials" in words_of(tab(addon))
    bpy.ops.mesh.primitive_cube_add(location=(3.0, 0.0, 0.0))
    paint(bpy.context.object, "Third")
    cube.select_set(True)
    for map_sets, said in (("OBJECT", "for each of 2 objects"), ("ALL", "for all 2 objects")):
        bpy.context.scene.pbrfit.map_sets = map_sets
        assert f"one set of maps {said}" in words_of(tab(addon))


def test_a_menu_of_one_entry_is_not_shown(addon, cube) -> None:
    drawn = draw(addon.ui.settings_panels.PBRFIT_PT_settings)
    properties = drawn.names("property")
    assert {"resolution_choice", "map_shape", "quality", "start"} <= set(properties)
    for name in properties:
        items = getattr(bpy.context.scene.pbrfit.bl_rna.properties[name], "enum_items", None)
        # Blender does not list the items of a menu that change.
        assert items is None or name in {"device_choice", "resolution_choice"} or len(items) > 1
    assert not {"reference", "resolution", "device"} & set(properties)


def test_a_failure_is_one_line_with_its_cure_and_the_log_behind_a_button(addon, cube, tmp_path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nfor n in 1 2 3 4 5 6 7 8 9; do echo line $n of the log; done\nexit 3\n")
    python.chmod(0o755)
    addon.preferences.backend_python = str(python)
    failure(start(addon))
    drawn = tab(addon)
    assert "The backend ended with status 3." in drawn.lines
    assert "of the log" not in words_of(drawn)
    assert "pbrfit.show_log" in drawn.names("operator")
    operators = drawn.names("operator")
    assert operators.index("pbrfit.resume") < operators.index("pbrfit.show_log")


def test_what_is_baked_is_said_so_and_what_hinders_a_fit_is_below_it(addon, cube) -> None:
    assign(
        addon,
        FILES,
        {"kind": "bake", "target": "CORE", "nodes": {"Paint": {"kind": "EXACT", "lost": [], "keeper": ""}}},
    )
    preferences = addon.settings.preferences.addon_preferences(bpy.context)
    preferences.backend_python = "/nowhere/python"
    try:
        drawn = tab(addon)
    finally:
        preferences.property_unset("backend_python")
    assert "Cube is baked already" in drawn.lines
    assert drawn.lines.index("Good") < drawn.lines.index("There is no backend")
    assert "pbrfit.open_preferences" not in drawn.names("operator")


def test_what_hinders_a_fit_is_open_while_there_is_no_result(addon, cube) -> None:
    preferences = addon.settings.preferences.addon_preferences(bpy.context)
    preferences.backend_python = "/nowhere/python"
    try:
        drawn = tab(addon)
    finally:
        preferences.property_unset("backend_python")
    assert "There is no backend" in drawn.lines
    assert "pbrfit.open_preferences" in drawn.names("operator")


def test_nothing_is_promised_of_a_bake_that_cannot_start(addon, cube) -> None:
    assert "can be baked exactly" in words_of(tab(addon))
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    assert "can be baked" not in words_of(tab(addon))


def test_long_headlines_are_wrapped_and_not_cut(addon, cube) -> None:
    cube.active_material.name = "Varnished Wood of an Old Ship"
    lines = tab(addon).lines
    (first,) = (number for number, line in enumerate(lines) if line.startswith("Varnished") and "on UVMap" not in line)
    assert " ".join(lines[first : first + 2]) == "Varnished Wood of an Old Ship can be baked exactly"


def test_the_end_of_the_time_is_no_zero(addon) -> None:
    text, status = addon.ui.running.progress_text, addon.session.session.SessionStatus
    assert text(status(fraction=0.98, time_left=0)) == "98%, finishing"
    assert text(status(fraction=0.5, time_left=7)) == "50%, 7 s left"
