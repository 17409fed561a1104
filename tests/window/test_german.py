"""Blender in German: the add-on's texts are German where they are drawn, and what is put into the file stays English."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

BAKE_SECONDS = 120.0
SENTENCE = '"Cube" has no UV map. Unwrap it: UV > Smart UV Project.'
GERMAN_SENTENCE = '"Cube" hat keine UV-Map. Abwickeln: UV > Smart UV Projekt.'
IN_THE_VIEW = (300, 400)
GERMAN = {
    "scene": "bake",
    "resolution": 256,
    "unreadable": False,
    "language": "de_DE",
    "phrases": ["Bake Maps", "The log was copied", SENTENCE],
}


@pytest.mark.parametrize("blender", [GERMAN], indirect=True)
def test_the_tab_is_german_and_what_it_makes_is_not(blender: WindowBlender, screenshots: Path) -> None:
    said = blender.next_state()["said"]
    assert said["Bake Maps"] == ["Maps backen"] * 6 + ["Bake Maps"] * 2
    assert said["The log was copied"] == ["Das Log wurde kopiert"] * 6 + ["The log was copied"] * 2
    # Blender itself knows texts without values alone.
    assert said[SENTENCE] == [SENTENCE] * 2 + [GERMAN_SENTENCE] * 4 + [SENTENCE] * 2
    blender.screenshot(screenshots / "german_1_tab.png")
    # F3 finds the bake by its German words.
    blender.search("maps backen", IN_THE_VIEW, screenshots / "german_2_search.png")
    baked = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, BAKE_SECONDS)
    assert baked["session"] == "done", baked["message"]
    assert baked["material"] == "Material PBRfit"
    assert baked["images"] == {"Material PBRfit Base Color": "sRGB"}
    blender.next_state()
    blender.screenshot(screenshots / "german_3_baked.png")
