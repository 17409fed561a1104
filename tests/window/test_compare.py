"""Compare in place: original, fitted material, bake and error side by side in the real window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.window.window_blender import WindowBlender

from render.core.image_io import read_values

FIT_SECONDS = 600.0


def picture(blender: WindowBlender, path: Path) -> np.ndarray:
    """Take a screenshot; returns the middle of the 3D view without sidebar and toolbar, values 0..1."""
    blender.screenshot(path)
    region, sidebar = (blender.state()[name] for name in ("comparison", "sidebar"))
    region = region["region"]
    top, left = blender.screen[1] - region["y"] - region["height"], region["x"]
    wide = sidebar["x"] - left
    return read_values(path)[top + 120 : top + region["height"] - 60, left + 80 : left + wide - 20, :3]


def still(blender: WindowBlender, seconds: float = 90.0) -> dict:
    """Wait until the comparison is drawn in full."""
    blender.wait_for(
        lambda state: (
            state["comparison"]["shown"]
            and not state["comparison"]["more"]
            and state["comparison"]["lit"]
            and not state["comparison"]["waiting"]
        ),
        seconds,
    )
    blender.next_state()
    return blender.next_state()["comparison"]


@pytest.mark.parametrize("blender", [{"scene": "compare", "views": 8}], indirect=True)
def test_original_and_fitted_side_by_side(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    done = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert done["session"] == "done", done["message"]
    before = blender.next_state()["comparison"]["view"]

    blender.click("pbrfit.compare_in_view")  # one click
    blender.wait_for(lambda state: state["comparison"]["shown"])
    blender.screenshot(screenshots / "compare-0-at-once.png")
    shown = still(blender)
    assert (shown["left"], shown["right"]) == ("Original: its baked maps", "Fitted")
    assert not shown["view"]["overlays"]
    picture(blender, screenshots / "compare-1-bake-and-fitted.png")
