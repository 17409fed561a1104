"""Steps of tests that follow a session: start it, poll it to a point, look at its processes."""

from __future__ import annotations

import time
from collections.abc import Callable

import bpy
from support.blender.scenes import TIMEOUT_S, run_to_end, small_fit


def tiny_fit() -> None:
    """Settings for a fit that takes seconds."""
    small_fit()
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.view_size, settings.samples = 16, 24, 1
    settings.views, settings.held_out_views = 5, 1


def warm_backend(addon) -> None:
    """Start the backend and wait for it, so that it is connected before the second Blender has rendered anything."""
    process = addon.setup.backend_process
    command = process.backend_command(addon.preferences.backend_python)
    backend = process.local_backend(command, process.client_keys().public)
    deadline = time.monotonic() + TIMEOUT_S
    while backend.poll_address() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(addon):
    """Press the button; returns the session."""
    assert bpy.ops.pbrfit.optimize() == {"FINISHED"}
    return addon.session.session.current()


def poll_until(session, reached: Callable) -> None:
    """Poll until `reached(status)`; fails if the session ends before that."""
    deadline = time.monotonic() + TIMEOUT_S
    while not reached(session.poll()):
        assert not session.status.finished, session.status
        assert time.monotonic() < deadline, session.status
        time.sleep(0.01)


def finish(session) -> None:
    """Poll to the end, which must be a good one."""
    run_to_end(session)
    assert session.status.state == "done", session.status


def failure(session) -> str:
    """Poll to the end, which must be a failure with cause and cure; returns what it says."""
    run_to_end(session)
    assert session.status.state == "failed", session.status
    assert session.status.cause
    assert session.status.cure
    return session.status.message


def rendered(session) -> int:
    """How many views of the current fit are rendered."""
    return len(session._queue.current.rendered)


def renderer_of(session):
    """The process of the second Blender."""
    return session._references._renderer._process


def backend_of(session):
    """The process of the backend on this machine."""
    return session._link._backend._process
