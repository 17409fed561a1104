"""Save Maps in the real window: three clicks from the object to files on the disk, with Blender free meanwhile."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

OUTPUT = {"layout": "unity-hdrp", "folder": "//maps"}
REQUEST = {"scene": "bake", "resolution": 256, "unreadable": False, "python": "", "output": OUTPUT}


@pytest.mark.parametrize("blender", [REQUEST], indirect=True)
def test_bake_and_save_in_two_clicks_after_the_selection(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.bake_maps")
    finished = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, 240.0)
    assert finished["session"] == "done", finished["message"]
    folder = blender.file.parent / "maps"
    assert not folder.exists()
    blender.click("pbrfit.save_maps")
    blender.wait_for(lambda _state: folder.is_dir() and any(folder.iterdir()), 60.0)
    state = blender.next_state()  # it still answers
    assert state["material"] == "Material PBRfit"
    (path,) = folder.iterdir()
    assert path.name == "Material_BaseMap.png"
    width, height, bits = struct.unpack(">IIB", path.read_bytes()[16:25])
    assert (width, height, bits) == (256, 256, 8)
    blender.screenshot(screenshots / "30_saved.png")
