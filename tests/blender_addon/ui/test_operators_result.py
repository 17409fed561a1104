"""What the artist does with a result: compare, revert, fit again, save the maps; and the panel's helpers."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
from support.blender.assigning import learned_light, of_sets, png
from support.blender.scenes import add_cube, hdri_world, paint, ready_cube, small_fit, snapshot

bpy = pytest.importorskip("bpy")


@pytest.fixture
def files() -> dict[str, bytes]:
    return {f"{key}.png": png(np.full((4, 4, 3), value, dtype=np.uint8)) for key, value in (("kd", 10), ("orm", 20))}


def assign(addon, files, **options) -> None:
    """Assign files to the selection as a session does, with the settings of the scene."""
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    options = {"scene_settings": addon.settings.properties.scene_values(bpy.context.scene.pbrfit)} | options
    for _ in addon.assign.materials.assignment_steps(plan, files, {}, addon.assign.materials.AssignOptions(**options)):
        pass


def test_compare_toggles_in_place(addon, files) -> None:
    cube = ready_cube()
    assert not bpy.ops.pbrfit.compare.poll()
    before = snapshot()["slots"]
    assign(addon, files)
    fitted = snapshot()["slots"]
    for _ in range(2):
        assert bpy.ops.pbrfit.compare() == {"FINISHED"}
        assert (snapshot()["slots"], addon.assign.memory.shown([cube])) == (before, "ORIGINAL")
        bpy.ops.pbrfit.compare()
        assert (snapshot()["slots"], addon.assign.memory.shown([cube])) == (fitted, "FITTED")


def test_objects_that_show_different_things_first_agree(addon, files) -> None:
    cube = ready_cube()
    other = cube.copy()
    other.data = cube.data.copy()
    bpy.context.scene.collection.objects.link(other)
    other.select_set(True)
    assign(addon, files)
    addon.assign.memory.show(bpy.context.scene, [other], fitted=False)
    bpy.ops.pbrfit.compare()
    assert addon.assign.memory.shown([cube, other]) == "ORIGINAL"
    bpy.ops.pbrfit.compare()
    assert [item.active_material.name for item in (cube, other)] == ["Paint PBRfit"] * 2
    other.select_set(False)
    bpy.ops.pbrfit.compare()
    assert [item.active_material.name for item in (cube, other)] == ["Paint", "Paint PBRfit"]


def test_compare_survives_saving_and_loading(addon, files, tmp_path) -> None:
    ready_cube()
    assign(addon, files)
    bpy.ops.pbrfit.compare()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert bpy.context.object.active_material.name == "Paint"
    bpy.ops.pbrfit.compare()
    assert bpy.context.object.active_material.name == "Paint PBRfit"


def test_revert_of_what_is_compared(addon, files) -> None:
    ready_cube()
    before = snapshot()
    assign(addon, files)
    bpy.ops.pbrfit.compare()
    assert bpy.ops.pbrfit.revert() == {"FINISHED"}
    assert snapshot() == before
    assert not bpy.ops.pbrfit.revert.poll()


def test_revert_keeps_what_the_artist_uses(addon, files) -> None:
    ready_cube()
    assign(addon, files)
    other = add_cube()
    other.data.materials.append(bpy.data.materials["Paint PBRfit"])
    bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
    other.select_set(False)
    bpy.data.objects["Cube"].select_set(True)
    bpy.ops.pbrfit.revert()
    assert other.active_material.name == "Paint PBRfit"
    assert len([image for image in bpy.data.images if image.name.startswith("Paint PBRfit")]) == 2


def test_undo_and_redo_of_every_step(addon, files) -> None:
    """Undo and redo through fit, compare and revert: what revert removed comes back with its pixels."""
    ready_cube()

    def fit() -> None:
        assign(addon, files)

    def state() -> tuple:
        cube = bpy.data.objects["Cube"]
        images = {image.name: tuple(image.pixels[0:3]) for image in bpy.data.images if image.packed_file is not None}
        materials = {item.name: item.use_fake_user for item in bpy.data.materials}
        return cube.active_material.name, materials, images, "pbrfit_fits" in cube

    states = [state()]
    bpy.ops.ed.undo_push(message="Before")
    for step in (fit, bpy.ops.pbrfit.compare, bpy.ops.pbrfit.compare, bpy.ops.pbrfit.revert):
        step()
        bpy.ops.ed.undo_push(message="Step")
        states.append(state())
    assert [found[0] for found in states] == ["Paint", "Paint PBRfit", "Paint", "Paint PBRfit", "Paint"]
    assert states[0] == states[4]
    for expected in reversed(states[:4]):
        assert bpy.ops.ed.undo() == {"FINISHED"}
        assert state() == expected
    for expected in states[1:]:
        assert bpy.ops.ed.redo() == {"FINISHED"}
        assert state() == expected


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT"])
def test_modes_whose_undo_keeps_no_materials(addon, files, mode) -> None:
    ready_cube()
    assign(addon, files)
    bpy.ops.object.mode_set(mode=mode)
    for name in ("compare", "revert", "fit_again"):
        with pytest.raises(RuntimeError, match="Go back to Object Mode"):
            getattr(bpy.ops.pbrfit, name)()
    bpy.ops.object.mode_set(mode="OBJECT")


def test_fit_again_takes_the_settings_of_the_record(addon, files) -> None:
    cube = ready_cube()
    small_fit()
    bpy.context.scene.pbrfit.use_normal = False
    assign(addon, files)
    settings = bpy.context.scene.pbrfit
    settings.views, settings.resolution, settings.use_normal, settings.preset = 99, 2048, True, "HIGH"
    assert bpy.ops.pbrfit.fit_again() == {"FINISHED"}
    session = addon.session.session.current()
    assert cube.active_material.name == "Paint"  # what is fitted is the original
    assert (settings.views, settings.resolution, settings.use_normal) == (6, 64, False)
    cameras = session.result.plan["cameras"]
    assert (cameras["training"], cameras["held_out"]) == (6, 2)
    assert not bpy.ops.pbrfit.fit_again.poll()
    session.cancel()


def test_fit_again_of_an_earlier_versions_material_makes_square_maps(addon, files) -> None:
    cube = ready_cube()
    small_fit()
    assign(addon, files)
    record = json.loads(cube.active_material["pbrfit"])
    del record["scene_settings"]["map_shape"]
    cube.active_material["pbrfit"] = json.dumps(record)
    settings = bpy.context.scene.pbrfit
    settings.map_shape = "4:1"
    assert bpy.ops.pbrfit.fit_again() == {"FINISHED"}
    assert settings.map_shape == "1:1"
    addon.session.session.current().cancel()


def test_fit_again_that_cannot_start_leaves_the_fitted_shown(addon, files) -> None:
    cube = ready_cube()
    assign(addon, files)
    cube.data.uv_layers.remove(cube.data.uv_layers.active)
    with pytest.raises(RuntimeError, match="has no UV map"):
        bpy.ops.pbrfit.fit_again()
    assert cube.active_material.name == "Paint PBRfit"


def test_save_maps(addon, files, tmp_path) -> None:
    ready_cube()
    assert not bpy.ops.pbrfit.save_maps.poll()
    files["environment.exr"] = learned_light(tmp_path / "light.exr")
    assign(addon, files, world_scene_uid=bpy.context.scene.session_uid)
    folder = tmp_path / "new" / "maps"
    for _ in range(2):
        assert bpy.ops.pbrfit.save_maps(directory=str(folder)) == {"FINISHED"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{stem}{number}{suffix}": data
        for number in ("", "_001")
        for stem, suffix, data in (
            ("Paint_PBRfit_Base_Color", ".png", files["kd.png"]),
            ("Paint_PBRfit_ORM", ".png", files["orm.png"]),
            ("Cube_PBRfit_Environment", ".exr", files["environment.exr"]),
        )
    }


def test_save_maps_of_tiles_files_and_painted_images(addon, files, tmp_path) -> None:
    cube = ready_cube()
    for corner in range(8):
        cube.data.uv_layers.active.uv[corner].vector.x += 1.0
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    files = of_sets({"kd.png": files["kd.png"]}, 2)
    assign(addon, files, image_storage="FILES")
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "files"))
    assert (tmp_path / "files" / "Paint_PBRfit_Base_Color.1002.png").read_bytes() == files["1/kd.png"]
    (tmp_path / "textures" / "Paint_PBRfit_Base_Color.1002.png").unlink()
    with pytest.raises(RuntimeError, match="has no file"):
        bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "more"))
    bpy.ops.pbrfit.revert()

    for entry in cube.data.uv_layers.active.uv:
        entry.vector.x %= 1.0
    assign(addon, {"kd.png": png(np.zeros((4, 4, 3), np.uint8))})
    image = bpy.data.images["Paint PBRfit Base Color"]
    image.pixels[0:4] = (1.0, 1.0, 1.0, 1.0)  # as painted
    assert image.is_dirty
    if "save_copy" not in image.bl_rna.functions["save"].parameters:
        with pytest.raises(RuntimeError, match="changes that are not saved"):
            bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "painted"))
        image.pack()
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "painted"))
    saved = bpy.data.images.load(str(tmp_path / "painted" / "Paint_PBRfit_Base_Color.png"))
    assert tuple(saved.pixels[0:4]) == (1.0, 1.0, 1.0, 1.0)
    assert image.is_dirty or image.packed_file is not None


def test_save_maps_where_nothing_can_be_written(addon, files, tmp_path) -> None:
    ready_cube()
    assign(addon, files)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RuntimeError, match="cannot write to"):
        bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "file" / "folder"))


def test_save_maps_that_could_not_be_assigned(addon, tmp_path) -> None:
    cube = add_cube()
    for name in ("Wood", "Steel"):
        paint(cube, name)
    for polygon in cube.data.polygons:
        polygon.material_index = polygon.index % 2
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    data = {"0/kd.png": b"a", "1/kd.png": b"b", "1/orm.png": b"c", "environment.exr": b"d"}
    with addon.assign.saved_maps.NewFiles(tmp_path) as new:
        addon.assign.saved_maps.save_results(plan, data, new)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "Wood_Base_Color.png": b"a",
        "Steel_Base_Color.png": b"b",
        "Steel_ORM.png": b"c",
        "Cube_Environment.exr": b"d",
    }


def test_unassigned_results_of_a_session(addon) -> None:
    results = [
        types.SimpleNamespace(files={"kd.png": b""}, material="Gone", material_uid=1),
        types.SimpleNamespace(files={"kd.png": b""}, material="Here", material_uid=1),
        types.SimpleNamespace(files={}, material="", material_uid=0),
        types.SimpleNamespace(
            files={"kd.png": b""}, material="Before", material_uid=bpy.data.materials.new("Renamed").session_uid
        ),
    ]
    bpy.data.materials.new("Here")
    session = types.SimpleNamespace(plans=["a", "b", "c", "d"], results=results)
    assert addon.ui.operators_result.unassigned(session) == [("a", {"kd.png": b""})]
    assert addon.ui.operators_result.unassigned(None) == []


def test_menu_of_objects(addon) -> None:
    name = addon.name
    functions = bpy.types.VIEW3D_MT_object._dyn_ui_initialize

    def entries() -> int:
        return sum(function.__name__ == "draw_object_menu" for function in functions())

    assert entries() == 1
    bpy.ops.preferences.addon_disable(module=name)
    assert entries() == 0
    bpy.ops.preferences.addon_enable(module=name)
    assert entries() == 1


# The panel's helpers ------------------------------------------------------------------------------------------------


def test_presets(addon) -> None:
    settings = bpy.context.scene.pbrfit
    assert settings.preset == "STANDARD"
    for name, _, _, values in addon.settings.presets.PRESETS:
        settings.preset = name
        assert settings.preset == name
        assert {key: getattr(settings, key) for key in values} == values
    settings.samples += 1
    assert settings.preset == "CUSTOM"
    kept = addon.settings.properties.scene_values(settings)
    settings.preset = "CUSTOM"
    assert addon.settings.properties.scene_values(settings) == kept
    assert "preset" not in kept


def test_values_that_this_version_does_not_know_are_left_out(addon) -> None:
    settings = bpy.context.scene.pbrfit
    addon.settings.properties.use_values(settings, {"views": 7, "quality": "divine", "magic": 3, "seed": "x"})
    assert (settings.views, settings.quality, settings.seed) == (7, "standard", 0)


def test_estimate_of_the_demo(addon) -> None:
    """The demo took 135 s for references and fit on two cores; the estimate must be within a factor of two."""
    settings = bpy.context.scene.pbrfit
    found = addon.session.estimates.estimate(settings, 15_744, 1, on_gpu=False, cores=2)
    assert 70.0 < found.seconds < 270.0
    assert found.text().startswith("About ")
    gpu = addon.session.estimates.estimate(settings, 15_744, 1, on_gpu=True, cores=2)
    assert gpu.seconds < found.seconds
    settings.preset = "DRAFT"
    draft = addon.session.estimates.estimate(settings, 15_744, 1, on_gpu=False, cores=2)
    settings.preset = "HIGH"
    high = addon.session.estimates.estimate(settings, 15_744, 1, on_gpu=False, cores=2)
    assert draft.seconds < found.seconds < high.seconds
    assert draft.memory_bytes < found.memory_bytes < high.memory_bytes


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "10 s"), (44, "40 s"), (100, "2 min"), (5399, "90 min"), (6000, "2 h")]
)
def test_times_in_words(addon, seconds, text) -> None:
    assert addon.session.estimates.rounded_time(seconds) == text


def test_estimate_counts_jobs(addon, monkeypatch) -> None:
    monkeypatch.setattr(addon.session.past_fits, "_known", [])
    cube = ready_cube()
    one = addon.ui.facts.estimate_for(bpy.context)
    other = cube.copy()
    other.data = cube.data.copy()
    bpy.context.scene.collection.objects.link(other)
    other.select_set(True)
    assert addon.ui.facts.estimate_for(bpy.context).seconds < 1.5 * one.seconds
    other.material_slots[0].material = bpy.data.materials.new("Own")
    assert addon.ui.facts.estimate_for(bpy.context).seconds > 1.9 * one.seconds
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = None
    assert addon.ui.facts.estimate_for(bpy.context) is None


def test_triangles_as_the_viewport_shows_them(addon) -> None:
    cube = ready_cube()
    cube.modifiers.new("Subdivision", "SUBSURF").levels = 2
    bpy.context.view_layer.update()
    assert addon.ui.facts.triangle_count(cube, bpy.context.view_layer) == 12 * 16


def test_thumbnails_show_what_they_are_given(addon) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 64, 4), dtype=np.uint8)
    before = snapshot()
    number = addon.ui.thumbnails.icon("0 kd", 1, pixels)
    assert addon.ui.thumbnails.icon("0 kd", 2, pixels[::-1]) == number
    shown = np.empty(32 * 64, dtype=np.int32)
    addon.ui.thumbnails._icons["0 kd"].image_pixels.foreach_get(shown)
    np.testing.assert_array_equal(shown.view(np.uint8).reshape(32, 64, 4), pixels)  # rows from the bottom up
    assert snapshot() == before


def test_curve_goes_up_where_the_fit_gets_better(addon) -> None:
    picture = addon.ui.thumbnails.curve_picture([(0.0, 14.0), (1.0, 24.0), (4.0, 31.0)])
    assert picture.shape == (96, 96, 4)
    line = (picture == addon.ui.thumbnails.CURVE_COLOR).all(axis=-1)
    rows = [np.flatnonzero(line[:, column]).mean() for column in (8, 25, 50, 90)]
    assert rows == sorted(rows, reverse=True)
    assert line.any(axis=0).all()
    assert (picture == addon.ui.thumbnails.GRID_COLOR).all(axis=-1).any(axis=1).sum() == 2  # 20 and 30 dB
    flat = addon.ui.thumbnails.curve_picture([(2.0, 20.0), (2.0, 20.0)])
    assert (flat[..., 3] > 0).any()


def test_learned_world_of_another_object_stays(addon, files, tmp_path) -> None:
    cube = ready_cube()
    files["environment.exr"] = learned_light(tmp_path / "light.exr")
    assign(addon, files, world_scene_uid=bpy.context.scene.session_uid)
    other = add_cube()
    paint(other, "Other")
    cube.select_set(False)
    assign(addon, {"kd.png": files["kd.png"]})
    assert addon.assign.memory.learned_world(bpy.context.scene, [other]) is None
    bpy.ops.pbrfit.revert()
    assert bpy.context.scene.world.name == "Cube PBRfit"
    cube.select_set(True)
    bpy.ops.pbrfit.revert()
    assert bpy.context.scene.world.name == "Forest"
    assert hdri_world().users == 1
