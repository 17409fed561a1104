"""A fit that does not reach its end: nothing of the file changes, and nothing is left running."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest
from support.blender.scenes import hdri_world, ready_cube, run_to_end, small_fit, snapshot
from support.blender.session_steps import backend_of, failure, poll_until, rendered, renderer_of, start, warm_backend

bpy = pytest.importorskip("bpy")


def children(session) -> list:
    return [renderer_of(session), backend_of(session)]


@pytest.fixture
def small_cube(addon):
    small_fit()
    return ready_cube()


def test_starting_changes_nothing(addon, small_cube) -> None:
    bpy.ops.mesh.primitive_monkey_add(location=(3.0, 0.0, 0.0))
    bpy.context.object.select_set(False)
    small_cube.select_set(True)
    bpy.context.view_layer.objects.active = small_cube
    before = snapshot()
    session = start(addon)
    assert snapshot() == before
    assert session.status.state == "starting"
    session.cancel()
    assert snapshot() == before


def test_starting_keeps_the_files_path_and_relative_paths(addon, small_cube, tmp_path) -> None:
    image = bpy.data.images.new("Bark", 4, 4)
    image.filepath_raw = str(tmp_path / "bark.png")
    image.save()
    image.source = "FILE"
    small_cube.active_material.node_tree.nodes.new("ShaderNodeTexImage").image = image
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    image.filepath = "//bark.png"
    before = sorted(tmp_path.iterdir())
    session = start(addon)
    assert bpy.data.filepath == str(tmp_path / "work.blend")
    assert image.filepath == "//bark.png"
    assert sorted(tmp_path.iterdir()) == before
    session.cancel()


@pytest.mark.any_blender
def test_cancel_while_rendering(addon, small_cube) -> None:
    bpy.context.scene.pbrfit.views = 500
    before = snapshot()
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering" and rendered(session) >= 2)
    renderer, backend = children(session)
    directory = session._folder
    assert list((directory / "copy").iterdir())
    began = time.monotonic()
    assert bpy.ops.pbrfit.cancel() == {"FINISHED"}
    assert time.monotonic() - began < 0.5
    assert session.poll().state == "cancelled"
    assert renderer.poll() is not None
    assert not directory.exists()
    assert snapshot() == before
    assert backend.poll() is None  # kept warm for the next fit
    assert not bpy.ops.pbrfit.cancel.poll()


@pytest.mark.any_blender
def test_cancel_while_the_backend_starts(addon, small_cube) -> None:
    before = snapshot()
    session = start(addon)
    renderer, _ = children(session)
    session.cancel()
    assert session.poll().state == "cancelled"
    assert renderer.poll() is not None
    assert snapshot() == before


def test_a_second_click_is_refused_while_a_fit_runs(addon, small_cube) -> None:
    session = start(addon)
    assert not bpy.ops.pbrfit.optimize.poll()
    with pytest.raises(RuntimeError, match="wait for it, or cancel it"):
        bpy.ops.pbrfit.optimize()
    session.cancel()
    assert bpy.ops.pbrfit.optimize.poll()


def test_disabling_the_addon_ends_everything(addon, small_cube) -> None:
    warm_backend(addon)
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering")
    processes = children(session)
    directory = session._folder
    bpy.ops.preferences.addon_disable(module=addon.name)
    assert [process.poll() is None for process in processes] == [False, False]
    assert not directory.exists()


@pytest.mark.any_blender
def test_killed_backend(addon, small_cube) -> None:
    before = snapshot()
    warm_backend(addon)
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering")
    renderer, backend = children(session)
    backend.kill()
    assert "The backend ended with status -9." in failure(session)
    assert renderer.poll() is not None
    assert snapshot() == before


@pytest.mark.any_blender
def test_killed_renderer_is_replaced_and_renders_what_is_missing(addon, small_cube) -> None:
    session = start(addon)
    poll_until(session, lambda status: rendered(session) >= 2)
    first, _ = children(session)
    first.kill()
    poll_until(session, lambda status: renderer_of(session) is not first)
    plan = session._queue.current.missing_plan()
    missing = {entry["index"] for entry in plan["views"]} - set(plan["rendered"])
    assert 0 < len(missing) <= 6
    run_to_end(session)
    assert session.status.state == "done", session.status


@pytest.mark.any_blender
def test_renderer_that_dies_again_and_again(addon, small_cube) -> None:
    before = snapshot()
    session = start(addon)
    killed = set()
    while not session.poll().finished:
        renderer = renderer_of(session)
        if renderer.poll() is None:
            renderer.kill()
            killed.add(renderer)
        time.sleep(0.01)
    assert "The windowless Blender ended with status -9." in failure(session)
    assert len(killed) == 3
    assert snapshot() == before


@pytest.mark.any_blender
def test_no_such_backend_python(addon, small_cube, tmp_path) -> None:
    addon.preferences.backend_python = str(tmp_path / "nowhere" / "python")
    before = snapshot()
    with pytest.raises(RuntimeError, match="does not exist or cannot be run"):
        bpy.ops.pbrfit.optimize()
    assert "Set Up Backend" in addon.session.session.current().status.cure
    assert addon.session.session.current()._folder is None
    assert snapshot() == before


@pytest.mark.any_blender
def test_no_backend_at_all(addon, small_cube, monkeypatch) -> None:
    addon.preferences.backend_python = ""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="No backend is set up yet"):
        bpy.ops.pbrfit.optimize()


def program(path: Path, script: str) -> str:
    """An executable Python program at `path`."""
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(os.name == "nt", reason="the program is a script with a first line that names its interpreter")
@pytest.mark.any_blender
def test_last_words_of_a_backend_that_does_not_start(addon, small_cube, tmp_path) -> None:
    script = "import sys\nprint('libcuda.so.1 is broken')\nsys.exit(3)\n"
    addon.preferences.backend_python = program(tmp_path / "python", script)
    said = failure(start(addon))
    assert "The backend ended with status 3." in said
    assert "libcuda.so.1 is broken" in said


@pytest.mark.skipif(os.name == "nt", reason="the program is a script with a first line that names its interpreter")
@pytest.mark.any_blender
def test_backend_runs_in_a_clean_environment(addon, small_cube, tmp_path, monkeypatch) -> None:
    """Variables that point into Blender's Python must not reach the backend's."""
    monkeypatch.setenv("PYTHONPATH", "/blender/python")
    script = "import os, sys\nfound = any(n.startswith('PYTHON') for n in os.environ)\n"
    script += "print('PYTHON' if found else 'clean')\nsys.exit(3)"
    addon.preferences.backend_python = program(tmp_path / "python", script)
    assert "clean" in failure(start(addon))


@pytest.mark.any_blender
def test_address_where_nobody_listens(addon, small_cube) -> None:
    addon.preferences.backend_address = "tcp://127.0.0.1:9"
    before = snapshot()
    said = failure(start(addon))
    assert "127.0.0.1:9" in said
    assert snapshot() == before


@pytest.mark.any_blender
def test_settings_that_the_backend_does_not_know(addon, small_cube) -> None:
    """As one of an earlier version does not know maps that are not square; this one is asked for maps that none knows."""
    session = start(addon)
    object.__setattr__(session._queue.current.settings, "resolution", (64, 4))
    message = failure(session)
    assert "Setting 'resolution' is [64, 4]; allowed: a power of two from 16 to 8192" in message
    assert "Install the same version at both ends" in message


def test_world_that_turns_out_black(addon, small_cube) -> None:
    tree = hdri_world().node_tree
    black = tree.nodes.new("ShaderNodeRGB")
    black.outputs[0].default_value = (0.0, 0.0, 0.0, 1.0)
    tree.links.new(black.outputs[0], tree.nodes["Background"].inputs["Color"])
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    before = snapshot()
    assert "The world gives no light: it is black." in failure(start(addon))
    assert snapshot() == before


@pytest.mark.any_blender
def test_world_that_turns_out_black_makes_room_for_studio_light(addon, small_cube) -> None:
    tree = hdri_world().node_tree
    black = tree.nodes.new("ShaderNodeRGB")
    black.outputs[0].default_value = (0.0, 0.0, 0.0, 1.0)
    tree.links.new(black.outputs[0], tree.nodes["Background"].inputs["Color"])
    session = start(addon)
    run_to_end(session)
    assert session.status.state == "done", session.status
    assert any("Studio light" in note and "black" in note for note in session.result.notes)
    (fit,) = session._queue
    assert fit.light == "STUDIO"
    assert "environment_1" in fit.arrays
    assert "environment_2" not in fit.arrays
    assert {view.light for view in fit.views} == {0, 1}


@pytest.mark.any_blender
def test_object_deleted_during_the_fit(addon, small_cube) -> None:
    session = start(addon)
    bpy.data.objects.remove(small_cube)
    assert "The object is gone" in failure(session)
    assert session.result.files.keys() >= {"kd.png"}  # what was fitted is not lost
    assert not [material for material in bpy.data.materials if "PBRfit" in material.name]
