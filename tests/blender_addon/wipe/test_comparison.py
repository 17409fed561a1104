"""A comparison without its picture: what it compares, what it changes in the view, and that it puts all of that back."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.scenes import add_cube, paint, ready_cube, use_nodes

bpy = pytest.importorskip("bpy")


@pytest.fixture
def files() -> dict[str, bytes]:
    return {f"{key}.png": png(np.full((4, 4, 3), value, dtype=np.uint8)) for key, value in (("kd", 10), ("orm", 20))}


@pytest.fixture
def fitted(addon, files):
    """A cube in paint with a new material, in a file with screens, in the dark: so no backend is asked for a light."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    bpy.ops.preferences.addon_enable(module=addon.name)
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    cube = ready_cube()
    bpy.context.scene.world = None
    assign(addon, files)
    yield cube
    addon.wipe.wipe.end()


def view_of(addon):
    found = addon.wipe.wipe.largest_view(bpy.context.window_manager.windows[0])
    assert found is not None
    return found


def state(addon) -> tuple:
    space = view_of(addon).space
    data = space.region_3d
    return (
        space.overlay.show_overlays,
        space.show_gizmo,
        space.shading.type,
        space.lens,
        tuple(data.view_location),
        tuple(data.view_rotation),
        data.view_distance,
    )


def begin(addon, *targets) -> None:
    addon.wipe.wipe.begin(view_of(addon), list(targets))


def test_it_compares_what_was_there_with_what_is_new(addon, fitted) -> None:
    add_cube()  # which is not compared
    begin(addon, fitted)
    comparison = addon.wipe.wipe.current()
    assert comparison.tick()
    (original,), (new,) = (comparison.scenes[name].parts for name in ("ORIGINAL", "NEW"))
    np.testing.assert_allclose(original.look.kd, (0.8, 0.3, 0.1), atol=1e-6)
    assert new.look.kd.image_uid
    assert comparison.lacks_light
    # The same whichever of them is shown.
    addon.assign.memory.show(bpy.context.scene, [fitted], fitted=False)
    bpy.context.view_layer.update()
    assert comparison.tick()
    assert comparison.scenes["NEW"].parts[0].look == new.look
    assert comparison.scenes["ORIGINAL"].parts[0].look == original.look


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("backend_python", "/nowhere/python", ["does not exist", "Set Up Backend"]),
        ("backend_address", "tcp://127.0.0.1:9", ["The backend at tcp://127.0.0.1:9 has not answered yet."]),
    ],
)
def test_why_there_is_no_light_is_said_at_once(addon, fitted, setting, value, words) -> None:
    preferences = addon.settings.preferences.addon_preferences(bpy.context)
    setattr(preferences, setting, value)
    if setting == "backend_address":
        preferences.backend_key = addon.setup.backend_process.client_keys().public
    bpy.context.scene.world = bpy.data.worlds.new("Gray")
    hub = addon.preview.engine.hub
    try:
        begin(addon, fitted)
        comparison = addon.wipe.wipe.current()
        assert comparison.tick()
        said = " ".join(comparison.lack_of_light)
        assert all(word in said for word in words), said
        assert "prepared" not in said
    finally:
        addon.wipe.wipe.end()
        hub.close_hub()
        for name in ("backend_python", "backend_address", "backend_key"):
            preferences.property_unset(name)


def test_what_has_no_picture_yet_is_being_prepared(addon, fitted) -> None:
    begin(addon, fitted)
    comparison, text = addon.wipe.wipe.current(), addon.wipe.drawing.preparing_text
    assert text(comparison, ("ORIGINAL", "NEW"), [None, None]) == "Preparing Original and Fitted..."
    assert text(comparison, ("ORIGINAL", "ERROR"), [object(), None]) == "Preparing Error..."
    assert text(comparison, ("NEW", "NEW"), [None, None]) == "Preparing Fitted..."
    assert text(comparison, ("ORIGINAL", "NEW"), [object(), object()]) == ""
    assert comparison.tick()
    assert comparison.lack_of_light == ["The world gives no light."]


def test_a_bake_is_called_baked(addon, fitted, files) -> None:
    settings = bpy.context.window_manager.pbrfit_wipe
    begin(addon, fitted)
    assert [item[1] for item in addon.settings.wipe._items(settings, None)] == ["Original", "Fitted", "Bake", "Error"]
    addon.wipe.wipe.end()
    assign(addon, files, {"kind": "bake"})
    begin(addon, fitted)
    assert settings.of_bake
    assert settings.right == "NEW"
    assert [item[1] for item in addon.settings.wipe._items(settings, None)][1] == "Baked"


def test_an_original_of_nodes_is_baked(addon, fitted) -> None:
    original = next(iter(addon.assign.memory.remembered(fitted))).entry["original"]
    tree = original.node_tree
    mix = tree.nodes.new("ShaderNodeBrightContrast")
    mix.inputs["Color"].default_value = (0.2, 0.4, 0.6, 1.0)
    tree.links.new(mix.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    begin(addon, fitted)
    comparison, looks = addon.wipe.wipe.current(), addon.preview.scene.baked_looks.baked_looks()
    assert comparison.tick()
    assert any("is being baked" in note for note in comparison.scenes["ORIGINAL"].notes)
    assert comparison.scenes["NEW"].notes == ()
    while looks.waiting:
        assert comparison.tick()
    assert comparison.tick()
    np.testing.assert_allclose(comparison.scenes["ORIGINAL"].parts[0].look.kd, (0.2, 0.4, 0.6), atol=0.01)


def test_the_view_is_put_back(addon, fitted) -> None:
    before = state(addon)
    begin(addon, fitted)
    assert state(addon)[:3] == (False, False, "SOLID")
    addon.wipe.wipe.end()
    assert state(addon) == before
    assert addon.wipe.wipe.current() is None


@pytest.mark.parametrize("how", ["mode", "deleted", "reverted", "editor", "add-on"])
def test_what_ends_it(addon, fitted, how: str) -> None:
    before = state(addon)
    area = view_of(addon).area
    begin(addon, fitted)
    assert addon.wipe.wipe.tick() is not None
    if how == "reverted":
        bpy.ops.pbrfit.revert()
    elif how == "editor":
        area.type = "IMAGE_EDITOR"
    elif how == "mode":
        bpy.ops.object.mode_set(mode="EDIT")
    elif how == "deleted":
        bpy.data.objects.remove(fitted)
    else:
        addon.wipe.wipe.unregister()
    assert addon.wipe.wipe.tick() is None
    assert addon.wipe.wipe.current() is None
    area.type = "VIEW_3D"
    assert state(addon) == before
    if how == "add-on":
        addon.wipe.wipe.register()


def test_a_saved_file_has_the_view_as_it_was(addon, fitted, tmp_path) -> None:
    before = state(addon)
    begin(addon, fitted)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    assert state(addon)[:3] == (False, False, "SOLID")  # it goes on
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    assert addon.wipe.wipe.current() is None
    assert state(addon) == before


def test_without_references_a_step_says_why(addon, fitted) -> None:
    begin(addon, fitted)
    comparison = addon.wipe.wipe.current()
    with pytest.raises(addon.common.errors.PbrFitError, match="no reference renders"):
        comparison.step(view_of(addon), 1)
    assert bpy.ops.pbrfit.compare_in_view.poll()


def test_it_needs_a_fitted_object(addon) -> None:
    cube = add_cube()
    paint(cube)
    use_nodes(cube.data.materials[0])
    assert not bpy.ops.pbrfit.compare_in_view.poll()
    assert not bpy.ops.pbrfit.compare_step.poll()


@pytest.fixture
def measuring(addon, fitted, tmp_path):
    """A comparison that measures the errors in one reference, and whether its light is there, with its drawing."""

    def begin_measuring(has_light: bool):
        begin(addon, fitted)
        comparison = addon.wipe.wipe.current()
        assert comparison.tick()
        session = importlib.import_module(f"{addon.name}.session.fit_queue")
        gone = session.RenderedReference(None, tmp_path / "dismissed.npy")
        comparison.steps = addon.wipe.comparison.Steps([gone], to_worst=True)
        comparison.lacks_light = not has_light
        return comparison, addon.wipe.wipe.drawing()

    return begin_measuring


def test_references_that_are_gone_end_their_measuring(measuring) -> None:
    """Else each redraw, 25 times a second, would raise."""
    comparison, drawing = measuring(has_light=True)
    drawing._measure(comparison)
    assert not comparison.steps.to_worst
    assert "cannot read the rendered view" in comparison.error


def test_nothing_waits_to_be_measured_in_the_dark(measuring) -> None:
    comparison, drawing = measuring(has_light=False)
    drawing._measure(comparison)
    assert not comparison.steps.to_worst
    assert "without the light" in comparison.error
