"""A first fit as the page for artists shows it: it takes three clicks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

FIT_SECONDS = 900.0
OBJECT = (455, 360)  # on the screen: the middle of the 3D view
TAB = (888, 323)
SETTINGS = (676, 435)  # the headers of the closed panels
MAPS = (669, 461)


@pytest.mark.parametrize("blender", [{"scene": "first fit"}], indirect=True)
def test_three_clicks_from_the_object_to_maps_on_disk(blender: WindowBlender, screenshots: Path) -> None:
    before = blender.next_state()
    assert before["selected"] == []
    assert before["tab"] != "PBRfit"
    textures = blender.file.parent / "textures"

    clicks = 0
    for place, reached in (
        (OBJECT, lambda state: state["selected"] == ["Head"]),
        (TAB, lambda state: state["tab"] == "PBRfit"),
    ):
        blender.xdotool("mousemove", *place)
        blender.next_state()
        blender.xdotool("click", 1)
        clicks += 1
        blender.wait_for(reached)
    for _ in range(20):  # the material preview takes a while to draw
        blender.next_state()
    blender.screenshot(screenshots / "first-fit-1-ready.png")
    blender.click("pbrfit.optimize")
    clicks += 1

    ended = {"done", "failed"}
    rendering = blender.wait_for(
        lambda state: state["session"] in ended or (state["session"] == "rendering" and state["fraction"] > 0.2),
        FIT_SECONDS,
    )
    assert rendering["session"] == "rendering", rendering["message"]  # the bake alone is not near enough
    blender.next_state()
    blender.screenshot(screenshots / "first-fit-2-rendering.png")
    blender.wait_for(lambda state: state["session"] == "fitting" and state["iteration"] > 150, FIT_SECONDS)
    for _ in range(3):
        blender.next_state()
    blender.screenshot(screenshots / "first-fit-3-fitting.png")
    finished = blender.wait_for(lambda state: state["session"] in ended, FIT_SECONDS)
    assert finished["session"] == "done", finished["message"]
    assert clicks == 3
    assert finished["material"] == "Chipped Paint PBRfit"
    assert len(os.listdir(textures)) >= 2  # numbers need no file
    assert len(finished["verdicts"]) == 1
    for _ in range(20):
        blender.next_state()
    blender.screenshot(screenshots / "first-fit-4-done.png")

    blender.click("pbrfit.compare")
    blender.wait_for(lambda state: state["material"] == "Chipped Paint")
    for _ in range(20):
        blender.next_state()
    blender.screenshot(screenshots / "first-fit-5-original.png")

    # The settings, in pictures: as before the fit.
    blender.click("pbrfit.revert")
    blender.wait_for(lambda state: state["images"] == {})
    for header, name in ((SETTINGS, "6-settings"), (MAPS, "7-maps")):
        blender.xdotool("mousemove", *header)
        blender.next_state()
        blender.xdotool("click", 1)
        for _ in range(10):
            blender.next_state()
        blender.screenshot(screenshots / f"first-fit-{name}.png")
        blender.xdotool("click", 1)
        blender.next_state()
