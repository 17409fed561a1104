"""An artist's first fit, in the real window: open the tab, click the button, wait, look, undo."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from window_blender import WindowBlender

FIT_SECONDS = 300.0


@pytest.fixture
def screenshots(tmp_path: Path):
    """A folder for screenshots; they are kept in the folder that PBRFIT_SCREENSHOTS names."""
    yield tmp_path
    kept = os.environ.get("PBRFIT_SCREENSHOTS")
    if kept:
        shutil.copytree(tmp_path, kept, dirs_exist_ok=True)


def test_click_fit_look_undo_and_revert(blender: WindowBlender, screenshots: Path) -> None:
    assert blender.state()["material"] == "Material"
    blender.screenshot(screenshots / "1_ready.png")
    blender.click("pbrfit.optimize")
    running = blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.1, 60.0)
    assert running["material"] == "Material"
    assert (running["file"], running["dirty"]) == (str(blender.file), False)
    blender.screenshot(screenshots / "2_running.png")
    finished = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert finished["session"] == "done", finished["message"]
    blender.next_state()
    blender.screenshot(screenshots / "3_done.png")

    assert finished["material"] == "Cube PBRfit"
    assert finished["kept"] == ["Material"]
    assert (finished["file"], finished["dirty"]) == (str(blender.file), True)
    assert set(finished["links"]) == {
        "ShaderNodeUVMap > Vector",
        "ShaderNodeTexImage > Base Color",
        "ShaderNodeTexImage > Color",
        "ShaderNodeSeparateColor > Roughness",
        "ShaderNodeSeparateColor > Metallic",
        "ShaderNodeNormalMap > Normal",
        "ShaderNodeBsdfPrincipled > Surface",
    }
    assert finished["images"] == {
        "Cube PBRfit Base Color": "sRGB",
        "Cube PBRfit Normal": "Non-Color",
        "Cube PBRfit ORM": "Non-Color",
    }

    # The fit is one step of undo and redo.
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+z")
    undone = blender.wait_for(lambda state: state["material"] == "Material")
    assert undone["kept"] == []
    blender.xdotool("key", "ctrl+shift+z")
    blender.wait_for(lambda state: state["material"] == "Cube PBRfit" and len(state["images"]) == 3)

    blender.click("pbrfit.revert")
    blender.wait_for(lambda state: state["material"] == "Material")
    blender.screenshot(screenshots / "4_reverted.png")

    # Look at the node tree: undo the revert, turn the 3D view into a shader editor, and frame all nodes.
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+z")
    blender.wait_for(lambda state: state["material"] == "Cube PBRfit")
    for _ in range(5):  # the key goes round the kinds of node editors
        blender.xdotool("key", "shift+F3")
        for _ in range(3):
            shown = blender.next_state()
        if "ShaderNodeTree" in shown["editors"]:
            break
    assert "ShaderNodeTree" in shown["editors"]
    blender.xdotool("key", "Home")
    for _ in range(5):
        blender.next_state()
    blender.screenshot(screenshots / "5_node_tree.png")


@pytest.mark.parametrize("blender", [500], indirect=True)
def test_cancel_button(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.04, 60.0)
    blender.click("pbrfit.cancel")
    cancelled = blender.wait_for(lambda state: state["session"] == "cancelled")
    assert cancelled["material"] == "Material"
    assert cancelled["kept"] == []
    assert cancelled["images"] == {}
    blender.next_state()
    blender.screenshot(screenshots / "6_cancelled.png")
