"""Blender's search finds the add-on by the words that an artist types: each time the first entry of its list is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

IN_THE_VIEW = (300, 400)
SMALL = {"scene": "bake", "resolution": 256, "unreadable": False, "python": ""}


@pytest.mark.parametrize("blender", [SMALL], indirect=True)
def test_bake_compare_and_revert_by_their_words(blender: WindowBlender, screenshots: Path) -> None:
    blender.search("bake texture", IN_THE_VIEW, screenshots / "search_1_bake.png")
    blender.wait_for(lambda state: state["session"] == "done" and state["material"] == "Material PBRfit", 120.0)
    blender.search("original", IN_THE_VIEW, screenshots / "search_2_original.png")
    blender.wait_for(lambda state: state["material"] == "Material" and state["kept"] == ["Material"])
    # "Revert" alone would be that of the File menu, which loads the file again.
    blender.search("revert mat", IN_THE_VIEW, screenshots / "search_3_revert.png")
    blender.wait_for(lambda state: state["kept"] == [] and state["material"] == "Material")
    assert blender.next_state()["verdicts"] == []
