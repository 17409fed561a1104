"""An artist's first fit, in the real window: open the tab, click the button, wait, look, undo."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

FIT_SECONDS = 300.0


@pytest.mark.parametrize("blender", [{"views": 12}], indirect=True)
def test_click_fit_look_compare_undo_and_revert(blender: WindowBlender, screenshots: Path) -> None:
    assert blender.state()["material"] == "Material"
    blender.screenshot(screenshots / "1_ready.png")
    blender.click("pbrfit.optimize")
    running = blender.wait_for(lambda state: state["session"] == "rendering" and state["fraction"] > 0.1, 60.0)
    assert running["material"] == "Material"
    assert (running["file"], running["dirty"]) == (str(blender.file), False)
    blender.screenshot(screenshots / "2_running.png")

    # Blender stays free: turn the view with the mouse held down, rotate the object, and undo that.
    blender.drag((200, 600), [(8, 4)] * 25)
    turned = blender.next_state()
    assert turned["view"] != running["view"]
    assert turned["fraction"] > running["fraction"]  # it went on during the drag
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "r", "z", "4", "5", "Return")
    blender.wait_for(lambda state: state["rotation"][2] > 0.7)
    blender.xdotool("key", "ctrl+z")
    undone = blender.wait_for(lambda state: state["rotation"][2] == 0.0)
    assert undone["session"] in {"rendering", "fitting"}
    finished = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert finished["session"] == "done", finished["message"]
    blender.next_state()
    blender.screenshot(screenshots / "3_done.png")

    assert finished["material"] == "Material PBRfit"
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
        "Material PBRfit Base Color": "sRGB",
        "Material PBRfit Normal": "Non-Color",
        "Material PBRfit ORM": "Non-Color",
    }

    # The fit is one step of undo and redo.
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+z")
    undone = blender.wait_for(lambda state: state["material"] == "Material")
    assert undone["kept"] == []
    blender.xdotool("key", "ctrl+shift+z")
    blender.wait_for(lambda state: state["material"] == "Material PBRfit" and len(state["images"]) == 3)

    # Show the original and then the fit again; the file's materials do not change.
    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Material")
    blender.next_state()
    blender.screenshot(screenshots / "4_compared.png")
    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Material PBRfit")

    # What is fitted already is not fitted again without a question.
    assert len(finished["verdicts"]) == 1
    blender.click("pbrfit.optimize")
    for _ in range(5):
        asked = blender.next_state()
    assert (asked["session"], asked["material"]) == ("done", "Material PBRfit")
    blender.screenshot(screenshots / "4_question.png")
    blender.xdotool("key", "Return")
    blender.wait_for(
        lambda state: state["session"] in {"starting", "rendering"} and state["material"] == "Material", 60.0
    )
    blender.click("pbrfit.cancel")
    blender.wait_for(lambda state: state["session"] == "cancelled")
    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Material PBRfit")

    blender.click("pbrfit.revert")
    reverted = blender.wait_for(lambda state: state["material"] == "Material")
    assert reverted["verdicts"] == []
    blender.screenshot(screenshots / "5_reverted.png")

    # Look at the node tree: undo the revert, turn the 3D view into a shader editor, and frame all nodes.
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "ctrl+z")
    blender.wait_for(lambda state: state["material"] == "Material PBRfit")
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
    blender.screenshot(screenshots / "6_node_tree.png")
