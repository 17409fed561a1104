"""The scene that the add-on describes for the backend, against descriptions that were recorded before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.blender.example_scenes import scenes

RECORDED = Path(__file__).parents[3] / "support" / "recorded" / "scenes.json"
SCENES = json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_described_byte_for_byte_as_before(addon, name) -> None:
    module, wire = addon.preview.scene.scene, addon.protocol.wire
    described, arrays = module.description(scenes(module)[name])
    text = json.dumps(wire.plain(described.to_dict()), allow_nan=False, separators=(",", ":"))
    assert text == SCENES[name]["description"]
    # The hashes say that the arrays' content is the same too.
    assert {name: wire.describe(array).to_dict() for name, array in arrays.items()} == SCENES[name]["arrays"]
    described.check_arrays(arrays)
