"""What --export asks for: each kind its own file, and what is refused before anything starts."""

from __future__ import annotations

import argparse

import pytest

from backend.cli.export_arguments import NAMES, export_request, export_text, exported_names
from backend.protocol.model_kinds import KINDS


def test_each_kind_has_a_file_of_its_own() -> None:
    wanted = export_request(NAMES, "Chair", "Chair")
    paths = [item["path"] for item in wanted]
    assert len(set(paths)) == len(paths) == len(KINDS) + 2
    assert all(path.startswith("models/Chair") for path in paths)
    assert [item["kind"] for item in wanted if item["what"] == "model"] == list(KINDS)


def test_a_list_with_commas() -> None:
    assert exported_names("glb, usd,glb") == ("glb", "usd")
    with pytest.raises(argparse.ArgumentTypeError, match='there is no "fbx"; there are glb'):
        exported_names("glb,fbx")
    with pytest.raises(argparse.ArgumentTypeError, match="nothing is named"):
        exported_names(" , ")


def test_the_terminal_says_where_they_are(tmp_path) -> None:
    assert (
        export_text({"exported": ["models/a.obj", "models/a.mtl"]}, tmp_path)
        == f"Exported 2 files: {tmp_path / 'models'}"
    )
    assert export_text({}, tmp_path) == ""
