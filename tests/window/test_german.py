"""Blender in German: the add-on's texts are German where they are drawn, and what is put into the file stays English."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

BAKE_SECONDS = 180.0
LABEL, TITLE, SENTENCE = "Held-out views", "Maps", '"Cube" has no UV map. Unwrap it: UV > Smart UV Project.'
GERMAN_SENTENCE = '"Cube" hat keine UV-Map. Abwickeln: UV > Smart UV Projekt.'
PHRASES = ["Bake Maps", "Optimize Materials", SENTENCE, "The log was copied"]
GERMAN = {"scene": "bake", "resolution": 256, "unreadable": True, "language": "de_DE", "phrases": PHRASES}


@pytest.mark.parametrize("blender", [GERMAN], indirect=True)
def test_the_tab_is_german_and_what_it_makes_is_not(blender: WindowBlender, screenshots: Path) -> None:
    said = blender.next_state()["said"]
    assert said["Bake Maps"] == ["Maps backen"] * 5
    assert said["The log was copied"] == ["Das Log wurde kopiert"] * 5
    assert said[SENTENCE] == [SENTENCE, SENTENCE, *[GERMAN_SENTENCE] * 3]
    blender.screenshot(screenshots / "german-1-tab.png")
    blender.click("pbrfit.bake_maps")
    baked = blender.wait_for(lambda state: state["session"] in {"DONE", "FAILED"}, BAKE_SECONDS)
    blender.next_state()
    blender.screenshot(screenshots / "german-2-baked.png")
    assert baked["session"] == "DONE", baked["message"]
    assert baked["material"] == "Material PBRfit"
