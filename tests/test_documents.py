"""Documents that name files, or are made from the code: what they say is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from support.arrows import ARROWS, drawing

ROOT = Path(__file__).parents[1]
NAMING_FILES = (
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "README.md",
    "CHANGELOG.md",
    ".github/pull_request_template.md",
)
# Made when something is run, or in the folders of users.
MADE = {"dist/", "demo/", "fitted"}
_FILE_NAME = re.compile(r"[\w.-]*\w\.(py|md|toml|txt|yml|yaml|json|npz|glsl|svg|png)")


def missing_paths(text: str, document: Path, root: Path = ROOT) -> list[str]:
    """Paths that a document names and that are not there: in backticks from the root, in links from the document."""
    missing = []
    for named in re.findall(r"(?<!`)`([\w./-]+/[\w./-]*|[\w.-]+)`(?!`)", text):
        is_path = ("/" in named and (root / named.split("/")[0]).exists()) or _FILE_NAME.fullmatch(named)
        if is_path and named not in MADE and not any((root / path).exists() for path in (named, f"{named}.py")):
            missing.append(named)
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        if not (document.parent / link).exists():
            missing.append(link)
    return missing


@pytest.mark.parametrize("name", NAMING_FILES)
def test_every_path_that_is_named_exists(name):
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    names_its_own = {"README.md": set(re.findall(r"\| `([\w.]+)` \|", text)) | {"NAME.blend", "normal.png", "kd.png"}}
    assert [path for path in missing_paths(text, document) if path not in names_its_own.get(name, set())] == []


def test_a_path_that_does_not_exist_is_seen(tmp_path):
    (tmp_path / "render").mkdir()
    (tmp_path / "render" / "mesh.py").touch()
    text = (
        "`render/mesh.py`, `render/gone.py`, `gone.md`, `a/b`, `x.y` and [a](render/mesh.py), [b](render/lost.md#top)"
    )
    assert missing_paths(text, tmp_path / "README.md", tmp_path) == ["render/gone.py", "gone.md", "render/lost.md"]


class TestArchitecture:
    @pytest.fixture
    def writer(self):
        spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_the_drawing_is_that_of_the_list(self, writer):
        text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
        assert writer.with_drawing(text, ARROWS, drawing(ARROWS)) == text, "run docs/draw_architecture.py"

    def test_the_drawing_leaves_out_what_a_longer_way_implies(self):
        arrows = {
            "render/a": set(),
            "render/b": {"render/a"},
            "render/c": {"render/a", "render/b"},
            "render/alone": set(),
            "backend/fit": {"render/a", "render/c"},
        }
        lines = drawing(arrows).splitlines()
        assert [line.strip() for line in lines if "-->" in line] == [
            "render_b --> render_a",
            "render_c --> render_b",
            "backend_fit --> render_room",
        ]
        assert '    render_c["c"]' in lines
        assert not [line for line in lines if "alone" in line]
