"""Export in the real window: three clicks from the object to a GLB on the disk, with Blender free meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

REQUEST = {"scene": "bake", "resolution": 256, "unreadable": False, "python": "", "output": {"folder": "//models"}}
BROWSER_SECONDS = 6.0  # until the file browser is drawn by the processor
IN_THE_LIST = (660, 250)


@pytest.mark.parametrize("blender", [REQUEST], indirect=True)
def test_bake_and_export(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.bake_maps")
    finished = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, 240.0)
    assert finished["session"] == "done", finished["message"]
    folder = blender.file.parent / "models"
    folder.mkdir()
    blender.click("pbrfit.export_model")
    time.sleep(BROWSER_SECONDS)
    blender.screenshot(screenshots / "40_browser.png")
    # It is a window of its own, and without a window manager nothing gives it the keys.
    blender.xdotool("search", "--name", "File View", "windowfocus")
    blender.xdotool("mousemove", *IN_THE_LIST)
    time.sleep(BROWSER_SECONDS)
    blender.xdotool("key", "Return")
    blender.wait_for(lambda _state: any(folder.glob("*.glb")), 120.0)
    state = blender.next_state()  # it still answers
    assert state["material"] == "Material PBRfit"
    (path,) = folder.iterdir()
    assert path.read_bytes()[:4] == b"glTF"
    blender.screenshot(screenshots / "41_exported.png")
