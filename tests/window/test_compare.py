"""Compare in place: original, fitted material, bake and error side by side in the real window."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from support.window.window_blender import WindowBlender

from render.core.image_io import read_values

FIT_SECONDS = 600.0


def picture(blender: WindowBlender, path: Path) -> np.ndarray:
    """Take a screenshot; returns the middle of the 3D view without sidebar and toolbar, values 0..1."""
    blender.screenshot(path)
    state = blender.state()
    region = state["comparison"]["region"]
    top, left = blender.screen[1] - region["y"] - region["height"], region["x"]
    right = state["sidebar"]["x"]
    return read_values(path)[top + 120 : top + region["height"] - 60, left + 80 : right - 20, :3]


def halves(shown: dict, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left and right of the divider, without it."""
    middle = round(shown["divider"] * shown["region"]["width"]) - 80
    return image[:, : middle - 8], image[:, middle + 8 :]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference of two pictures."""
    return float(np.abs(one - other).mean())


def still(blender: WindowBlender, seconds: float = 120.0) -> dict:
    """Wait until the comparison is drawn in full, and stays so; returns its state."""
    deadline, quiet = time.monotonic() + seconds, 0
    while quiet < 4:
        shown = blender.next_state()["comparison"]
        is_done = shown["shown"] and not shown["more"] and shown["lit"] and not shown["waiting"]
        quiet = quiet + 1 if is_done else 0
        assert time.monotonic() < deadline, shown
    return shown


def key(blender: WindowBlender, name: str) -> None:
    """Press a key with the mouse over the view."""
    region = blender.state()["comparison"]["region"]
    blender.xdotool("mousemove", region["x"] + 150, blender.screen[1] - region["y"] - 150, "key", name)
    blender.next_state()


def ended(blender: WindowBlender) -> dict:
    """Wait until there is no comparison; returns how the view is."""
    blender.wait_for(lambda state: not state["comparison"]["shown"])
    return blender.next_state()["comparison"]["view"]


def begin(blender: WindowBlender) -> dict:
    """Press Compare, and wait until it is drawn."""
    blender.click("pbrfit.compare_in_view")
    return still(blender)


@pytest.mark.parametrize("blender", [{"scene": "compare", "views": 8}], indirect=True)
def test_original_and_fitted_side_by_side(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.optimize")
    blender.wait_for(lambda state: state["session"] == "fitting" and state["iteration"] > 25, FIT_SECONDS)
    blender.click("pbrfit.apply_now")
    done = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert done["session"] == "done", done["message"]
    before = blender.next_state()["comparison"]["view"]
    dirty = blender.state()["dirty"]

    shown = begin(blender)  # one click
    assert (shown["left"], shown["right"]) == ("Original: its baked maps", "Fitted")
    assert (shown["view"]["overlays"], shown["view"]["gizmos"]) == (False, False)
    first = picture(blender, screenshots / "compare-1-bake-and-fitted.png")
    left, right = halves(shown, first)
    np.testing.assert_allclose(left[0, 0], 0.11, atol=0.006)  # the background, as it is to be shown
    assert left.std() > 0.05
    assert right.std() > 0.05

    # The divider, with the mouse: what was right of it is now left of it.
    region = shown["region"]
    x = region["x"] + round(shown["divider"] * region["width"])
    y = blender.screen[1] - region["y"] - region["height"] // 3
    blender.drag((x, y), [(-20, 0)] * 6, button=1)
    moved = blender.next_state()["comparison"]
    assert moved["divider"] == pytest.approx(shown["divider"] - 120 / region["width"], abs=0.01)
    after = picture(blender, screenshots / "compare-2-divider.png")
    assert apart(halves(shown, first)[1], halves(shown, after)[1]) < 0.002
    assert apart(first, after) > 0.005
    blender.drag((x - 120, y), [(20, 0)] * 6, button=1)

    key(blender, "4")
    assert still(blender)["right"] == "Error"
    error = picture(blender, screenshots / "compare-3-error.png")
    assert apart(halves(shown, first)[1], halves(shown, error)[1]) > 0.02
    key(blender, "3")
    assert still(blender)["right"] == "Bake"
    baked = picture(blender, screenshots / "compare-4-bake.png")
    assert apart(halves(shown, first)[1], halves(shown, baked)[1]) > 0.01
    key(blender, "2")

    # The artist turns the view: both sides follow.
    blender.drag((region["x"] + 200, y), [(12, 3)] * 6)
    turned = still(blender)
    assert turned["view"]["rotation"] != shown["view"]["rotation"]
    other = picture(blender, screenshots / "compare-5-turned.png")
    assert apart(halves(shown, first)[0], halves(shown, other)[0]) > 0.01
    assert apart(halves(shown, first)[1], halves(shown, other)[1]) > 0.01

    # The original by Cycles, on request.
    blender.click("pbrfit.compare_render")
    blender.wait_for(lambda state: state["comparison"].get("rendered"), 300.0)
    rendered = still(blender)
    assert rendered["left"] == "Original by Cycles"
    by_cycles = picture(blender, screenshots / "compare-6-cycles.png")
    # The same shape at the same place: where one is background, so is the other.
    silhouettes = [
        np.abs(part - 0.11).max(axis=-1) > 0.08 for part in (halves(shown, other)[0], halves(shown, by_cycles)[0])
    ]
    assert np.mean(silhouettes[0] != silhouettes[1]) < 0.02

    # References as views, then the worst one.
    own = blender.next_state()["comparison"]["view"]
    key(blender, "Right")
    stepped = still(blender)
    assert stepped["reference"] == 0
    assert stepped["left"] == "Original: reference by Cycles"
    assert stepped["view"]["rotation"] != own["rotation"]
    reference = picture(blender, screenshots / "compare-7-reference.png")
    assert halves(shown, reference)[0].std() > 0.05
    key(blender, "Left")
    assert still(blender)["reference"] > 0  # the last one
    blender.click("pbrfit.compare_step")  # Worst View is the widest of these buttons
    blender.wait_for(
        lambda state: state["comparison"]["errors"] > 0 and "error" in state["comparison"]["status"], 120.0
    )
    assert "error" in still(blender)["status"]
    picture(blender, screenshots / "compare-8-worst-view.png")

    # Escape puts everything back: the view where the artist had turned it to.
    key(blender, "Escape")
    back = ended(blender)
    assert back == before | {name: own[name] for name in ("location", "rotation", "distance")}
    assert blender.state()["dirty"] == dirty
    assert blender.state()["tab"] == "PBRfit"
    (screenshots / "compare-slowest.json").write_text(json.dumps(blender.state()["comparison"]["slowest"]))

    # Undo, another mode and another file end it too.
    begin(blender)
    key(blender, "ctrl+z")
    assert ended(blender) == back
    key(blender, "ctrl+shift+z")
    blender.wait_for(lambda state: state["verdicts"])
    begin(blender)
    key(blender, "Tab")
    assert ended(blender) == back
    key(blender, "Tab")
    begin(blender)
    blender.open_file()
    assert ended(blender)["overlays"]


@pytest.mark.parametrize("blender", [{"scene": "compare", "views": 8}], indirect=True)
def test_show_original_in_the_preview_shows_its_baked_maps(blender: WindowBlender, screenshots: Path) -> None:
    """The original is nodes that the preview cannot read: they are baked in the background."""
    blender.click("pbrfit.bake_maps")
    blender.wait_for(lambda state: state["session"] == "done", 180.0)
    blender.click("pbrfit.show_preview")
    blender.wait_for(lambda state: state["preview"]["lit"] and state["preview"]["finest"], 180.0)
    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Chipped Paint" and state["comparison"]["waiting"])
    blender.wait_for(lambda state: not state["comparison"]["waiting"], 180.0)
    blender.wait_for(lambda state: state["preview"]["finest"], 60.0)
    for _ in range(5):
        blender.next_state()
    picture(blender, screenshots / "preview-show-original.png")
    head = read_values(screenshots / "preview-show-original.png")[280:460, 400:510, :3]
    # Blue paint, and chips down to bare metal; its viewport display color is one shade of brown.
    assert np.mean(head[..., 2] > head[..., 0] + 0.1) > 0.3
    assert np.mean(head[..., 2] < head[..., 0]) > 0.05
