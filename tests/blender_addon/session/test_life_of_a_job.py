"""A fit goes on whatever the artist does in the meantime, and whatever happens to the second Blender."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from support.blender.scenes import hdri_world, paint, ready_cube, run_to_end, snapshot
from support.blender.session_steps import (
    failure,
    finish,
    poll_until,
    rendered,
    renderer_of,
    start,
    tiny_fit,
    warm_backend,
)
from support.spread import spread

bpy = pytest.importorskip("bpy")


@pytest.fixture
def cube(addon):
    warm_backend(addon)
    tiny_fit()
    return ready_cube()


@pytest.fixture
def saved_cube(cube, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    return cube


def is_fitted(name: str) -> bool:
    """Whether the object shows a fitted material."""
    return "pbrfit" in bpy.data.objects[name].active_material


def long_fit() -> None:
    """More views than a test waits for."""
    bpy.context.scene.pbrfit.views = 400


# What the artist does ---------------------------------------------------------------------------------------------


def test_renamed_moved_and_saved_under_another_name(addon, saved_cube, tmp_path) -> None:
    session = start(addon)
    poll_until(session, lambda _status: rendered(session) >= 1)
    saved_cube.name = "Crate"
    saved_cube.location.x = 5.0
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    finish(session)
    assert bpy.data.filepath == str(tmp_path / "other.blend")
    assert is_fitted("Crate")


def test_another_file_and_back(addon, saved_cube, tmp_path) -> None:
    """The object is renamed and saved, another file is opened: the maps wait until the first is open again."""
    session = start(addon)
    saved_cube.name = "Crate"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_empty=True)
    ready_cube().name = "Crate"
    poll_until(session, lambda status: status.state == "applying")
    before = snapshot()
    for _ in range(5):
        assert session.poll().state == "applying"
    assert '"work.blend" is not open' in session.status.message
    assert snapshot() == before
    assert set(session.result.files) == {"kd.png", "orm.png", "normal.png"}
    assert not bpy.ops.pbrfit.optimize.poll()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    finish(session)
    assert is_fitted("Crate")


@pytest.mark.any_blender
def test_the_file_is_loaded_again_without_the_object(addon, saved_cube, tmp_path) -> None:
    bpy.ops.mesh.primitive_plane_add()
    session = start_on(addon, saved_cube)
    bpy.data.objects.remove(saved_cube)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    assert "The object is gone" in failure(session)


def start_on(addon, scene_object):
    """Select only this object, and press the button."""
    for item in bpy.context.view_layer.objects:
        item.select_set(item == scene_object)
    bpy.context.view_layer.objects.active = scene_object
    return start(addon)


@pytest.mark.any_blender
def test_a_file_never_saved_cannot_come_back(addon, cube) -> None:
    long_fit()
    session = start(addon)
    poll_until(session, lambda _status: rendered(session) >= 1)
    renderer, folder = renderer_of(session), session._folder
    bpy.ops.wm.read_homefile(use_empty=True)
    assert "closed without being saved" in failure(session)
    assert not session.status.can_resume
    assert renderer.poll() is not None
    assert not folder.exists()


@pytest.mark.parametrize("mode", spread(["EDIT", "SCULPT", "TEXTURE_PAINT"], 3))
def test_modes_whose_undo_knows_no_materials_are_waited_for(addon, cube, mode) -> None:
    session = start(addon)
    bpy.ops.object.mode_set(mode=mode)
    poll_until(session, lambda status: status.state == "applying")
    for _ in range(5):
        session.poll()
    assert "go back to Object Mode" in session.status.message
    assert not is_fitted("Cube")
    bpy.ops.object.mode_set(mode="OBJECT")
    finish(session)
    assert is_fitted("Cube")


@pytest.mark.parametrize("mode", spread(["WEIGHT_PAINT", "VERTEX_PAINT"], 2))
def test_modes_that_keep_all_in_undo_are_not_waited_for(addon, cube, mode) -> None:
    session = start(addon)
    bpy.ops.object.mode_set(mode=mode)
    finish(session)
    assert is_fitted("Cube")
    assert cube.mode == mode


def test_prepared_datablocks_go_before_the_file_changes(addon, saved_cube) -> None:
    """A save between two slices of the assignment writes nothing unfinished, and the assignment starts again."""
    session = start(addon)
    poll_until(session, lambda _status: any("PBRfit" in image.name for image in bpy.data.images))
    assert not is_fitted("Cube")
    bpy.ops.wm.save_mainfile()
    assert not any("PBRfit" in image.name for image in bpy.data.images)
    finish(session)
    assert is_fitted("Cube")
    assert len([image for image in bpy.data.images if "PBRfit" in image.name]) == 3


# The queue --------------------------------------------------------------------------------------------------------


@pytest.mark.any_blender
def test_two_objects_are_two_jobs_and_one_step(addon, cube) -> None:
    bpy.ops.mesh.primitive_plane_add(location=(4.0, 0.0, 0.0))
    plane = bpy.context.object
    paint(plane, "Floor")
    cube.select_set(True)
    session = start(addon)
    assert len(session.plans) == 2
    seen, fractions, changed = set(), [], []
    while not session.poll().finished:
        seen.add((session.status.state, session.status.fit, session.status.fits))
        fractions.append(session.status.fraction)
        changed.append((is_fitted("Cube"), is_fitted("Plane")))
        time.sleep(0.01)
    assert session.status.state == "done", session.status
    assert {("rendering", 1, 2), ("rendering", 2, 2), ("fitting", 2, 2)} <= seen
    assert fractions == sorted(fractions)
    assert set(changed) == {(False, False)}  # both in the very last poll
    assert is_fitted("Cube")
    assert is_fitted("Plane")
    assert [result.object_name for result in session.results] == ["Plane", "Cube"]
    assert all(result.seconds["total"] > 0.0 for result in session.results)


@pytest.mark.any_blender
def test_a_job_that_fails_leaves_the_others_their_result(addon, cube) -> None:
    bpy.ops.mesh.primitive_plane_add(location=(4.0, 0.0, 0.0))
    plane = bpy.context.object
    paint(plane, "Floor")
    cube.select_set(True)
    session = start(addon)
    bpy.data.objects.remove(plane)
    finish(session)
    assert is_fitted("Cube")
    assert 'Assigned "Paint PBRfit"' in session.status.message
    assert "Plane: The object is gone" in session.status.message


# Pause, apply now, cancel -----------------------------------------------------------------------------------------


@pytest.mark.any_blender
def test_pause_while_rendering_ends_the_second_blender_and_goes_on_after(addon, cube) -> None:
    bpy.context.scene.pbrfit.views = 20
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering" and rendered(session) >= 2)
    renderer = renderer_of(session)
    assert bpy.ops.pbrfit.pause() == {"FINISHED"}
    assert session.status.paused
    assert renderer.poll() is not None
    count = rendered(session)
    for _ in range(5):
        assert session.poll().paused
    assert (session.status.state, rendered(session)) == ("rendering", count)
    bpy.ops.pbrfit.pause()
    assert not session.status.paused
    finish(session)
    assert rendered(session) == 21


@pytest.mark.any_blender
def test_pause_while_fitting(addon, cube) -> None:
    bpy.context.scene.pbrfit.quality = "standard"
    session = start(addon)
    poll_until(session, lambda status: status.state == "fitting" and status.iteration > 0)
    bpy.ops.pbrfit.pause()
    for _ in range(50):  # what was still running when it paused
        session.poll()
        time.sleep(0.02)
    iteration = session.status.iteration
    for _ in range(25):
        assert session.poll().paused
        time.sleep(0.02)
    assert (session.status.state, session.status.iteration) == ("fitting", iteration)
    bpy.ops.pbrfit.pause()
    finish(session)


@pytest.mark.any_blender
def test_apply_now(addon, cube) -> None:
    bpy.context.scene.pbrfit.resolution = 64
    bpy.context.scene.pbrfit.quality = "high"
    session = start(addon)
    assert not bpy.ops.pbrfit.apply_now.poll()
    poll_until(session, lambda status: status.state == "fitting" and status.iteration > 0)
    assert bpy.ops.pbrfit.apply_now() == {"FINISHED"}
    began = time.monotonic()
    finish(session)
    assert time.monotonic() - began < 10.0
    assert is_fitted("Cube")


@pytest.mark.any_blender
def test_curve_and_previews_grow(addon, cube) -> None:
    settings = bpy.context.scene.pbrfit
    settings.quality, settings.resolution, settings.view_size = "high", 64, 48
    session = start(addon)
    finish(session)
    seconds = [point[0] for point in session.status.curve]
    assert len(seconds) >= 2
    assert seconds == sorted(seconds)
    assert {name for _, name in session.maps.images} == {"kd", "orm", "normal"}
    assert all(image.dtype.name == "uint8" and image.shape[2] == 4 for image in session.maps.images.values())


POINTS = {
    "starting": lambda session: session.status.state == "starting",
    "rendering": lambda session: session.status.state == "rendering" and rendered(session) >= 2,
    "fitting": lambda session: session.status.state == "fitting" and session.status.iteration > 0,
    "applying": lambda session: session._assigning is not None,
}


@pytest.mark.any_blender
@pytest.mark.parametrize("point", POINTS)
def test_cancel_answers_within_half_a_second(addon, cube, point) -> None:
    before = snapshot()
    session = start(addon)
    poll_until(session, lambda _status: POINTS[point](session))
    folder = session._folder
    began = time.monotonic()
    assert bpy.ops.pbrfit.cancel() == {"FINISHED"}
    assert time.monotonic() - began < 0.5
    assert session.poll().state == "cancelled"
    assert folder is None or not folder.exists()
    assert snapshot() == before


# Nothing left behind ----------------------------------------------------------------------------------------------


def leftovers() -> dict:
    """What an add-on may leave behind: threads, handlers, and files in the folders for temporary ones."""
    handlers = {
        name: len(getattr(bpy.app.handlers, name))
        for name in dir(bpy.app.handlers)
        if isinstance(getattr(bpy.app.handlers, name), list)
    }
    folders = [Path(tempfile.gettempdir()), Path(bpy.app.tempdir)]
    names = {
        str(path) for folder in folders for path in folder.iterdir() if path.name.startswith(("pbrfit", "blender_"))
    }
    return {"threads": sorted(thread.name for thread in threading.enumerate()), "handlers": handlers, "files": names}


@pytest.mark.parametrize("point", spread([*POINTS, "done"], 5, always=["applying"]))
def test_disabling_and_enabling_leaves_nothing_behind(addon, cube, point, monkeypatch, tmp_path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    bpy.ops.preferences.addon_disable(module=addon.name)
    before = leftovers()
    bpy.ops.preferences.addon_enable(module=addon.name)
    addon.preferences.backend_python = os.environ.get("PBRFIT_BACKEND_PYTHON") or addon.preferences.backend_python
    warm_backend(addon)
    session = start(addon)
    if point == "done":
        run_to_end(session)
    else:
        poll_until(session, lambda _status: POINTS[point](session))
    processes = [addon.setup.backend_process._local._process]
    if session._open_references is not None:
        processes.append(renderer_of(session))
    bpy.ops.preferences.addon_disable(module=addon.name)
    assert all(process.poll() is not None for process in processes)
    assert leftovers() == before
    assert list(temporary.iterdir()) == []


@pytest.mark.any_blender
def test_world_without_light_in_a_queue(addon, cube) -> None:
    tree = hdri_world().node_tree
    black = tree.nodes.new("ShaderNodeRGB")
    black.outputs[0].default_value = (0.0, 0.0, 0.0, 1.0)
    tree.links.new(black.outputs[0], tree.nodes["Background"].inputs["Color"])
    bpy.ops.mesh.primitive_plane_add()
    paint(bpy.context.object, "Floor")
    cube.select_set(True)
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    session = start(addon)
    assert "it is black" in failure(session)
    assert [job.error is not None for job in session._queue] == [True, True]
