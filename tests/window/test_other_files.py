"""Another file is opened while a fit runs: the timer goes on, and the maps wait for their file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

FIT_SECONDS = 300.0


@pytest.mark.parametrize("blender", [{"views": 40}], indirect=True)
def test_new_file_and_back(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.04, 60.0)
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+n")
    for _ in range(5):
        blender.next_state()
    blender.screenshot(screenshots / "14_new_file.png")
    blender.xdotool("key", "g")  # General
    blender.wait_for(lambda state: state["file"] == "")
    waiting = blender.wait_for(lambda state: "is not open" in state["message"], FIT_SECONDS)
    assert waiting["session"] == "applying"
    assert waiting["images"] == {}
    assert waiting["material"] == "Material"
    blender.open_file()
    blender.wait_for(lambda state: state["file"] == str(blender.file))
    done = blender.wait_for(lambda state: state["session"] == "done")
    assert done["material"] == "Material PBRfit"
    assert len(done["images"]) == 3
