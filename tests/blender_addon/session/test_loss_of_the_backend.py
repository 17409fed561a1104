"""A fit goes on after its backend is lost: killed, hung, or not to be started again."""

from __future__ import annotations

import signal
import time

import pytest
from support.blender.scenes import ready_cube
from support.blender.session_steps import backend_of, failure, finish, poll_until, start, tiny_fit, warm_backend

bpy = pytest.importorskip("bpy")


@pytest.fixture
def cube(addon):
    warm_backend(addon)
    tiny_fit()
    return ready_cube()


@pytest.mark.any_blender
def test_resume_after_a_killed_backend_goes_on_from_its_checkpoint(addon, cube) -> None:
    settings = bpy.context.scene.pbrfit
    settings.quality, settings.resolution, settings.view_size = "high", 256, 64
    settings.reference_light = "SCENE"  # a few views in several lights soon teach the fit nothing more
    session = start(addon)
    kept = addon.setup.backend_process._home / "checkpoints"
    poll_until(session, lambda status: status.iteration > 0 and any(kept.rglob("running.npz")))
    backend = backend_of(session)
    backend.kill()
    assert "The backend ended with status -9." in failure(session)
    assert session.status.can_resume
    assert not addon.session.session.running()
    assert bpy.ops.pbrfit.resume() == {"FINISHED"}
    assert not session.status.can_resume
    poll_until(session, lambda status: status.iteration > 0)
    bpy.ops.pbrfit.apply_now()
    finish(session)
    assert session.result.metrics["resumed_at_iteration"] > 0
    assert "pbrfit" in bpy.data.objects["Cube"].active_material
    assert addon.setup.backend_process._local._process.pid != backend.pid


@pytest.mark.any_blender
def test_backend_that_does_not_start_again_is_tried_a_few_times(addon, cube, monkeypatch) -> None:
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering")
    folder = session._folder
    backend_of(session).kill()
    failure(session)
    addon.preferences.backend_python = "/bin/false"
    monkeypatch.setattr(addon.session.backend_link, "RESTART_DELAYS", (0.0, 0.1, 0.2))
    started = []
    original = addon.session.backend_link.local_backend
    monkeypatch.setattr(
        addon.session.backend_link, "local_backend", lambda *arguments: started.append(1) or original(*arguments)
    )
    bpy.ops.pbrfit.resume()
    assert "The backend ended with status 1." in failure(session)
    assert len(started) == 3
    assert session.status.can_resume
    assert folder.exists()
    assert bpy.ops.pbrfit.dismiss() == {"FINISHED"}
    assert not folder.exists()
    assert addon.session.session.current() is None


@pytest.mark.any_blender
def test_backend_that_hangs_is_replaced(addon, cube) -> None:
    """A stopped process lives but answers nothing: it counts as lost, and is not used again."""
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering")
    backend = backend_of(session)
    backend.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 60.0
    while not session.poll().finished and time.monotonic() < deadline:
        time.sleep(0.02)
    assert session.status.can_resume
    assert "The backend is gone" in session.status.message
    assert backend.poll() is not None
    bpy.ops.pbrfit.resume()
    finish(session)
