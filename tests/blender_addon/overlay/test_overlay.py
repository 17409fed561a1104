"""The overlay of what no view saw: what it shows of a selection, and what ends it. It draws in tests/window."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.assigning import assign
from support.blender.scenes import add_cube, paint, ready_cube, snapshot

bpy = pytest.importorskip("bpy")
Matrix, Vector = pytest.importorskip("mathutils").Matrix, pytest.importorskip("mathutils").Vector


@pytest.fixture
def half_unseen(addon) -> str:
    """The text of a mask whose right half is unseen."""
    seen = np.ones((32, 32), np.float32)
    seen[:, 16:] = 0.0
    return addon.protocol.unseen.unseen_text(np.ones((32, 32), bool), seen)


@pytest.fixture
def cube(addon, files, half_unseen):
    """A cube with a fitted material, half of whose maps no view saw."""
    scene_object = ready_cube()
    assign(addon, files, {"unseen": [half_unseen]})
    return scene_object


def test_the_button_shows_and_hides_and_changes_nothing_of_the_file(addon, cube) -> None:
    overlay = addon.overlay.overlay
    before = snapshot()
    assert bpy.ops.pbrfit.show_unseen() == {"FINISHED"}
    (shown,) = overlay.shown()
    # The cross of the cube's faces reaches from 0.125 to 0.875: four faces lie around the middle.
    assert 0.3 < shown.share < 0.7
    assert {one.mask.shape for one in shown.faces} == {(32, 32)}
    assert snapshot() == before
    assert bpy.ops.pbrfit.show_unseen() == {"FINISHED"}
    assert overlay.shown() == []
    assert snapshot() == before


def test_without_unseen_parts_there_is_no_button(addon, files) -> None:
    assert not bpy.ops.pbrfit.show_unseen.poll()
    ready_cube()
    assert not bpy.ops.pbrfit.show_unseen.poll()
    assign(addon, files, {"unseen": [""]})
    assert not bpy.ops.pbrfit.show_unseen.poll()


def test_fits_from_before_there_were_masks_have_none(addon, files) -> None:
    ready_cube()
    assign(addon, files)
    assert not bpy.ops.pbrfit.show_unseen.poll()


def test_several_objects_are_shown_together(addon, files, cube, half_unseen) -> None:
    second, third = add_cube(), add_cube()
    paint(second, "Other")
    paint(third, "Third")
    third.select_set(False)
    bpy.context.view_layer.objects.active = second
    second.select_set(True)
    cube.select_set(False)
    assign(addon, files, {"unseen": [half_unseen]})
    for item in (cube, third):
        item.select_set(True)
    assert bpy.ops.pbrfit.show_unseen() == {"FINISHED"}
    shown = addon.overlay.overlay.shown()
    assert {one.uid for one in shown} == {cube.session_uid, second.session_uid}
    # One of them changes: the other one stays.
    second.data.vertices[0].co.x += 0.5
    second.data.update()
    bpy.context.view_layer.update()
    assert [one.uid for one in addon.overlay.overlay.shown()] == [cube.session_uid]


def test_moving_the_object_keeps_it(addon, cube) -> None:
    bpy.ops.pbrfit.show_unseen()
    cube.location.x += 1.0
    cube.name = "Another Name"
    bpy.context.view_layer.update()
    (shown,) = addon.overlay.overlay.shown()
    assert shown.found() == cube


def test_comparing_does_not_end_what_can_be_shown(addon, cube) -> None:
    bpy.ops.pbrfit.compare()
    assert bpy.ops.pbrfit.show_unseen.poll()


def revert(_addon, _cube) -> None:
    bpy.ops.pbrfit.revert()
    bpy.context.view_layer.update()


def delete(_addon, cube) -> None:
    bpy.data.objects.remove(cube)
    bpy.context.view_layer.update()


def load(_addon, _cube) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)


def switch_off(addon, _cube) -> None:
    addon.overlay.overlay.unregister()
    addon.overlay.overlay.register()


@pytest.mark.parametrize("end", [revert, delete, load, switch_off])
def test_what_ends_it(addon, cube, end) -> None:
    bpy.ops.pbrfit.show_unseen()
    assert addon.overlay.overlay.shown()
    end(addon, cube)
    assert addon.overlay.overlay.shown() == []
    assert addon.overlay.overlay._handle is None


def test_a_mesh_that_lost_the_uv_map_is_said(addon, cube) -> None:
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    assert bpy.ops.pbrfit.show_unseen() == {"CANCELLED"}
    assert addon.overlay.overlay.shown() == []


def test_it_is_drawn_a_little_nearer_than_the_surface(addon) -> None:
    matrix = addon.overlay.drawing.clip_matrix
    window = Matrix(((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, -1.001, -0.2), (0, 0, -1, 0)))
    view = Matrix.Translation((0.0, 0.0, -5.0))
    point = Vector((0.3, -0.2, 0.5, 1.0))
    plain, nearer = window @ view @ point, matrix(view, window, Matrix.Identity(4), 5.0) @ point
    assert tuple(nearer / nearer.w)[:2] == pytest.approx(tuple(plain / plain.w)[:2], abs=1e-5)
    assert nearer.z / nearer.w < plain.z / plain.w
    flat = Matrix(((0.2, 0, 0, 0), (0, 0.2, 0, 0), (0, 0, -0.01, 0), (0, 0, 0, 1)))
    plain, nearer = flat @ view @ point, matrix(view, flat, Matrix.Identity(4), 5.0) @ point
    assert tuple(nearer)[:2] == pytest.approx(tuple(plain)[:2])
    assert nearer.z < plain.z
