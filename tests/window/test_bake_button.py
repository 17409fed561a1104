"""A bake in the real window, where there is no backend: read the verdict, click, look, undo; cancel; and close Blender."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender, is_running

GONE_SECONDS = 10.0
SMALL = {"scene": "bake", "resolution": 256, "unreadable": False, "python": ""}
LONG = {**SMALL, "resolution": 4096}
UNREADABLE = {**SMALL, "unreadable": True}


@pytest.mark.parametrize("blender", [SMALL], indirect=True)
def test_click_bake_look_compare_undo_and_revert(blender: WindowBlender, screenshots: Path) -> None:
    ready = blender.next_state()
    assert any("No backend is set up yet" in finding for finding in ready["findings"])
    blender.screenshot(screenshots / "20_bake_ready.png")
    blender.click("pbrfit.bake_maps")
    running = blender.wait_for(lambda state: state["session"] == "baking", 60.0)
    assert running["material"] == "Material"
    assert (running["file"], running["dirty"]) == (str(blender.file), False)
    finished = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, 120.0)
    assert finished["session"] == "done", finished["message"]
    assert finished["processes"] == []
    assert finished["material"] == "Material PBRfit"
    assert finished["kept"] == ["Material"]
    assert finished["images"] == {"Material PBRfit Base Color": "sRGB"}
    assert set(finished["links"]) == {
        "ShaderNodeUVMap > Vector",
        "ShaderNodeTexImage > Base Color",
        "ShaderNodeBsdfPrincipled > Surface",
    }
    blender.next_state()
    blender.screenshot(screenshots / "21_baked.png")

    # The bake is one step of undo and redo.
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+z")
    undone = blender.wait_for(lambda state: state["material"] == "Material")
    assert undone["kept"] == []
    blender.xdotool("key", "ctrl+shift+z")
    blender.wait_for(lambda state: state["material"] == "Material PBRfit" and len(state["images"]) == 1)

    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Material")
    blender.next_state()
    blender.screenshot(screenshots / "22_original.png")
    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Material PBRfit")
    blender.click("pbrfit.compare_in_view")
    compared = blender.wait_for(lambda state: state["comparison"]["shown"] and state["comparison"]["status"])
    assert compared["comparison"]["right"] == "Baked"
    # Why the light is not the world's is said at once.
    assert "No backend is set up yet." in compared["comparison"]["status"]
    blender.screenshot(screenshots / "22_compared_without_backend.png")
    blender.click("pbrfit.compare_in_view")
    blender.wait_for(lambda state: not state["comparison"]["shown"])
    blender.click("pbrfit.fit_again")
    blender.wait_for(lambda state: state["session"] == "baking")
    again = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, 120.0)
    assert again["session"] == "done", again["message"]
    blender.click("pbrfit.revert")
    blender.wait_for(lambda state: state["material"] == "Material")


@pytest.mark.parametrize("blender", [LONG], indirect=True)
def test_blender_stays_free_and_cancel_leaves_nothing(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.bake_maps")
    running = blender.wait_for(lambda state: state["session"] == "baking" and "Baking" in state["message"], 60.0)
    assert len(running["processes"]) == 1
    blender.drag((200, 600), [(8, 4)] * 10)
    turned = blender.next_state()
    assert turned["view"] != running["view"]
    assert turned["session"] == "baking"
    blender.screenshot(screenshots / "23_baking.png")
    blender.click("pbrfit.cancel")
    cancelled = blender.wait_for(lambda state: state["session"] == "cancelled")
    assert (cancelled["material"], cancelled["kept"], cancelled["images"]) == ("Material", [], {})
    assert not any(is_running(pid) for pid in running["processes"])
    assert list(Path(cancelled["temporary"][0]).iterdir()) == []


@pytest.mark.parametrize("blender", [UNREADABLE], indirect=True)
def test_what_cannot_be_baked_is_said_before_the_click(blender: WindowBlender, screenshots: Path) -> None:
    blender.next_state()
    blender.screenshot(screenshots / "24_unreadable.png")
    blender.click("pbrfit.bake_maps")  # grayed out
    assert blender.next_state()["session"] == ""


@pytest.mark.parametrize("blender", [LONG], indirect=True)
def test_a_killed_blender_takes_the_bake_with_it(blender: WindowBlender) -> None:
    blender.click("pbrfit.bake_maps")
    running = blender.wait_for(lambda state: state["session"] == "baking" and "Baking" in state["message"], 60.0)
    blender.process.kill()
    deadline = time.monotonic() + 6 * GONE_SECONDS
    while any(is_running(pid) for pid in running["processes"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_running(pid) for pid in running["processes"])
