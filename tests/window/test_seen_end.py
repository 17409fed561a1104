"""What an artist sees who was elsewhere while a fit ran, and what one click does about a dark world or a failure."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

FIT_SECONDS = 900.0
LOG_LINES = 40
LONG_ENOUGH = {"views": 60}


def failing_python() -> str:
    """A Python that cannot be the backend's: it says a lot and ends."""
    path = Path(tempfile.mkdtemp(prefix="pbrfit_failing_")) / "python"
    path.write_text(f"#!/bin/sh\nfor n in $(seq {LOG_LINES}); do echo line $n of what went wrong; done\nexit 3\n")
    path.chmod(0o755)
    return str(path)


def stub(blender: WindowBlender) -> Path:
    """A program notify-send for that Blender, which writes its arguments line by line; returns the file."""
    programs = blender.folder / "programs"
    programs.mkdir()
    written, program = blender.folder / "notified", programs / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {written}.part\nmv {written}.part {written}\n')
    program.chmod(0o755)
    return written


@pytest.mark.parametrize("blender", [LONG_ENOUGH], indirect=True)
def test_who_is_elsewhere_is_notified_and_sees_the_result_by_one_click(
    blender: WindowBlender, screenshots: Path
) -> None:
    written = stub(blender)
    blender.focus(is_own=True)
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] == "rendering", 120.0)
    blender.focus(is_own=False)
    blender.screenshot(screenshots / "seen-1-running.png")
    done = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert done["session"] == "done", done["message"]
    blender.wait_for(lambda _state: written.exists())
    *options, title, text = written.read_text().splitlines()
    assert options == ["--app-name=Blender", "--icon=blender", "--"]
    assert title == "PBRfit: the fit is done"
    assert text.startswith('"Material PBRfit": ')
    blender.next_state()
    blender.screenshot(screenshots / "seen-2-done.png")

    written.unlink()
    blender.focus(is_own=True)
    blender.click("pbrfit.fit_again")
    blender.wait_for(lambda state: state["session"] not in {"done", "failed"}, 120.0)
    again = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert again["session"] == "done", again["message"]
    assert again["seconds"] > 10.0  # long enough for a notification
    for _ in range(20):
        blender.next_state()
    assert not written.exists()

    assert again["shading"] == "SOLID"
    blender.click("pbrfit.show_result")
    # Software OpenGL compiles EEVEE's shaders for minutes where the machine is busy.
    blender.wait_for(lambda state: state["shading"] == "MATERIAL", 300.0)
    blender.screenshot(screenshots / "seen-3-shown.png")


@pytest.mark.parametrize("blender", [{"scene": "black world"}, {"scene": "flat world"}], indirect=True)
def test_a_dark_or_flat_world_gets_studio_light_by_one_click(
    blender: WindowBlender, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["blender"]["scene"].partition(" ")[0]
    before = blender.next_state()
    assert before["light"] == "SCENE"
    assert any("world" in finding for finding in before["findings"])
    blender.screenshot(screenshots / f"seen-4-{name}.png")
    blender.click("pbrfit.use_studio_light")
    after = blender.wait_for(lambda state: state["light"] != "SCENE")
    assert not any("black" in finding or "every direction" in finding for finding in after["findings"])
    blender.next_state()
    blender.screenshot(screenshots / f"seen-5-{name}-studio.png")
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] in {"starting", "rendering"}, 60.0)
    blender.click("pbrfit.cancel")
    blender.wait_for(lambda state: state["session"] == "cancelled")


@pytest.mark.parametrize("blender", [{"python": failing_python()}], indirect=True)
def test_the_log_of_a_failure_is_behind_a_button(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    failed = blender.wait_for(lambda state: state["session"] == "failed", 120.0)
    assert f"line {LOG_LINES} of" in failed["message"]
    blender.next_state()
    blender.screenshot(screenshots / "seen-6-failed.png")
    blender.click("pbrfit.show_log")
    for _ in range(5):
        blender.next_state()
    blender.screenshot(screenshots / "seen-7-log.png")
