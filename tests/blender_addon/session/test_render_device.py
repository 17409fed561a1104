"""What Cycles renders with, in a whole fit: it is said, a GPU that fails is replaced by the CPU, no preferences change."""

from __future__ import annotations

import dataclasses

import pytest
from support.blender.scenes import ready_cube, run_to_end, small_fit
from support.blender.session_steps import poll_until, rendered, renderer_of, start

bpy = pytest.importorskip("bpy")


@pytest.fixture
def small_cube(addon):
    small_fit()
    return ready_cube()


def cycles_state() -> tuple:
    cycles = bpy.context.preferences.addons["cycles"].preferences
    return cycles.compute_device_type, [(device.id, device.use) for device in cycles.devices]


@pytest.fixture
def seen_as_gpu(addon, monkeypatch) -> None:
    """The first second Blender seems to have a GPU."""
    devices = addon.common.render_devices
    real, seen = devices.DeviceUsed.from_json, []

    def from_json(line: dict) -> object:
        used = real(line)
        seen.append(used)
        return dataclasses.replace(used, name="A GPU (OptiX)", on_gpu=True) if len(seen) == 1 else used

    monkeypatch.setattr(devices.DeviceUsed, "from_json", from_json)


def test_a_gpu_that_dies_is_replaced_by_the_cpu(addon, small_cube, seen_as_gpu) -> None:
    before = cycles_state()
    session = start(addon)
    poll_until(session, lambda status: rendered(session) >= 2)
    (fit,) = session._queue
    assert fit.missing_plan()["devices"] == {"kind": "AUTO", "ids": []}
    assert fit.result.render_device == "A GPU (OptiX)"
    first = renderer_of(session)
    first.kill()
    poll_until(session, lambda status: renderer_of(session) is not first)
    assert fit.missing_plan()["devices"] == {"kind": "CPU", "ids": []}
    run_to_end(session)
    assert session.status.state == "done", session.status
    (note,) = [note for note in session.result.notes if "CPU" in note]
    assert note.startswith("Cycles failed with A GPU (OptiX)")
    assert note in session.status.message
    assert session.result.render_device.endswith("(CPU)")
    assert cycles_state() == before


def test_both_renders_of_a_view_are_from_one_device(addon, small_cube) -> None:
    session = start(addon)
    (fit,) = session._queue
    fit.take_device(addon.common.render_devices.DeviceUsed("A GPU (OptiX)", on_gpu=True))
    fit.round, fit.rendered, fit.rendered_candidate = 1, {0, 1, 2, 3}, {0, 2}
    assert fit.other_device(addon.common.second_blender.BlenderDied("It died.", "Try again."))
    assert fit.rendered == fit.rendered_candidate == {0, 2}
    session.close()


def test_the_panel_says_what_renders(addon) -> None:
    status = addon.session.session_status.SessionStatus()
    assert status.rendering(1, 4, 2.0).message == "Rendering references 1/4"
    assert status.rendering(2, 4, 2.0, "A GPU (OptiX)").message == "Rendering references 2/4 with A GPU (OptiX)"


def test_the_cpu_can_be_chosen(addon, small_cube) -> None:
    bpy.context.scene.pbrfit.render_device = "CPU"
    session = start(addon)
    assert session._queue.current.missing_plan()["devices"] == {"kind": "CPU", "ids": []}
    session.close()
