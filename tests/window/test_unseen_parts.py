"""What no view of a fit saw, shown in the real window and hidden again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.window.window_blender import WindowBlender

from render.core.image_io import read_values

FIT_SECONDS = 300.0
VIEW = np.s_[100:700, 70:600]  # of a screenshot: the 3D view without toolbar, sidebar and header


def pink(blender: WindowBlender, path: Path) -> int:
    """Take a screenshot; returns how many of its pixels have the color of the overlay's stripes, which nothing else has."""
    for _ in range(5):
        blender.next_state()
    blender.screenshot(path)
    red, green, blue = np.moveaxis(read_values(path)[VIEW][..., :3], -1, 0)
    return int(((red > 0.6) & (green < 0.45) & (blue > 0.35) & (blue - green > 0.15)).sum())


@pytest.mark.parametrize("blender", [{"scene": "hole", "views": 5}], indirect=True)
def test_the_bottom_of_a_hole_is_shown_on_request(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    finished = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert finished["session"] == "done", finished["message"]
    before = pink(blender, screenshots / "unseen-1-fitted.png")
    assert before < 50

    blender.click("pbrfit.show_unseen")
    blender.wait_for(lambda state: state["unseen"] == ["Cube"])
    assert pink(blender, screenshots / "unseen-2-shown.png") > before + 2000
    # What the object hides stays hidden.
    blender.drag((300, 300), [(0, -20)] * 12)
    assert pink(blender, screenshots / "unseen-3-turned.png") < before + 200

    # Another scale of the object keeps it, an undo of the fit ends it.
    blender.xdotool("mousemove", 300, 400)
    blender.xdotool("key", "s", "2", "Return")
    assert blender.next_state()["unseen"] == ["Cube"]
    blender.xdotool("key", "ctrl+z", "ctrl+z")
    undone = blender.wait_for(lambda state: state["material"] == "Material")
    assert undone["unseen"] == [] or blender.wait_for(lambda state: state["unseen"] == [])
    assert pink(blender, screenshots / "unseen-4-undone.png") < 50
