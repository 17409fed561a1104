"""What an artist sees after Cancel, without a UV map or without a backend; and what is left after Blender is closed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender, is_running

GONE_SECONDS = 10.0


@pytest.mark.parametrize("blender", [{"views": 500}], indirect=True)
def test_pause_and_cancel(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.04, 60.0)
    blender.click("pbrfit.pause")
    paused = blender.wait_for(lambda state: state["paused"])
    assert len(paused["processes"]) == 1  # the backend waits; the second Blender is gone
    blender.next_state()
    blender.screenshot(screenshots / "7_paused.png")
    blender.click("pbrfit.pause")
    going = blender.wait_for(lambda state: not state["paused"] and state["fraction"] > paused["fraction"], 60.0)
    blender.click("pbrfit.cancel")
    cancelled = blender.wait_for(lambda state: state["session"] == "cancelled")
    assert cancelled["material"] == "Material"
    assert cancelled["kept"] == []
    assert cancelled["images"] == {}
    assert [is_running(pid) for pid in going["processes"]] == [True, False]  # the backend stays warm
    assert list(Path(cancelled["temporary"][0]).iterdir()) == []
    blender.next_state()
    blender.screenshot(screenshots / "8_cancelled.png")


@pytest.mark.parametrize("blender", [{"scene": "no UV map", "views": 500}], indirect=True)
def test_what_stands_in_the_way_is_mended_by_one_click(blender: WindowBlender, screenshots: Path) -> None:
    assert blender.state()["uv_maps"] == []
    blender.screenshot(screenshots / "9_no_uv_map.png")
    blender.click("pbrfit.unwrap")
    blender.wait_for(lambda state: len(state["uv_maps"]) == 1)
    blender.next_state()
    blender.screenshot(screenshots / "10_unwrapped.png")
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] in {"starting", "rendering"})
    blender.click("pbrfit.cancel")
    blender.wait_for(lambda state: state["session"] == "cancelled")
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+z")
    blender.wait_for(lambda state: state["uv_maps"] == [])


@pytest.mark.parametrize("blender", [{"python": ""}], indirect=True)
def test_a_missing_backend_is_said(blender: WindowBlender, screenshots: Path) -> None:
    state = blender.next_state()
    assert any("No backend is set up yet" in finding and "Set Up Backend" in finding for finding in state["findings"])
    blender.screenshot(screenshots / "11_no_backend.png")
    blender.click("pbrfit.optimize")  # grayed out
    assert blender.next_state()["session"] == ""


@pytest.mark.parametrize("blender", [{"python": "/bin/false"}], indirect=True)
def test_a_backend_that_does_not_start_is_said(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    failed = blender.wait_for(lambda state: state["session"] == "failed")
    assert "The backend ended with status 1." in failed["message"]
    assert failed["material"] == "Material"
    blender.next_state()
    blender.screenshot(screenshots / "12_backend_fails.png")


@pytest.mark.parametrize("blender", [{"views": 500}], indirect=True)
def test_a_killed_backend_is_resumed_by_a_click(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    running = blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.042, 60.0)
    os.kill(running["processes"][0], signal.SIGKILL)
    failed = blender.wait_for(lambda state: state["session"] == "failed")
    assert not any(is_running(pid) for pid in running["processes"])
    blender.next_state()
    blender.screenshot(screenshots / "13_interrupted.png")
    blender.click("pbrfit.resume")
    blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > failed["fraction"], 60.0)
    blender.click("pbrfit.cancel")
    blender.wait_for(lambda state: state["session"] == "cancelled")


@pytest.mark.parametrize("blender", [{"views": 500}], indirect=True)
def test_closing_blender_leaves_no_process_and_no_file(blender: WindowBlender) -> None:
    blender.click("pbrfit.optimize")
    running = blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.04, 60.0)
    assert len(running["processes"]) == 2
    assert all(is_running(pid) for pid in running["processes"])
    assert "pbrfit-client" in running["threads"]
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+q")
    blender.process.wait(GONE_SECONDS)
    deadline = time.monotonic() + GONE_SECONDS
    while any(is_running(pid) for pid in running["processes"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [is_running(pid) for pid in running["processes"]] == [False, False]
    assert not any(os.path.exists(folder) for folder in running["temporary"])


@pytest.mark.parametrize("blender", [{"views": 500}], indirect=True)
def test_a_killed_blender_takes_its_processes_with_it(blender: WindowBlender) -> None:
    blender.click("pbrfit.optimize")
    running = blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.04, 60.0)
    blender.process.kill()
    deadline = time.monotonic() + 6 * GONE_SECONDS
    while any(is_running(pid) for pid in running["processes"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [is_running(pid) for pid in running["processes"]] == [False, False]
