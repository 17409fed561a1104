"""The tables of a preview's scene in docs/protocol.md are those of the classes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from backend.protocol.scene_description import SceneDescription

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def writer():
    spec = importlib.util.spec_from_file_location("write_schema", DOCS / "write_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_has_what_the_classes_say(writer):
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    assert writer.with_tables(text, SceneDescription) == text


def test_every_key_that_is_written_is_in_the_tables(writer):
    """Against a description as it travels, so that a key without a row would be seen."""
    tables = writer.tables(SceneDescription)

    def keys(value):
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    part = {
        "mesh": {
            "vertex_position": "p",
            "vertex_normal": "n",
            "vertex_tangent": "t",
            "vertex_uv": "u",
            "triangles": "f",
        }
    }
    part |= {"matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "job": {"id": "j", "set": 0}}
    part |= {"look": {"kd": {"array": "kd", "channel": None, "encoding": "srgb"}}}
    written = SceneDescription.from_dict({"parts": [part], "light": {"job": "j"}}).to_dict()
    assert all(f"| `{key}` |" in tables for key in keys(written))
