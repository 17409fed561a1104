"""The rooms of the source tree and their folders, and who may look into which: read from the import statements themselves.

support/arrows.py has the list of what is allowed; docs/architecture.md draws it.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from support.arrows import ARROWS, FORBIDDEN, ROOMS
from support.imports import (
    Source,
    circle,
    external,
    file_graph,
    files_of,
    folder_graph,
    imports_of,
    leading_to,
    read_sources,
)

ROOT = Path(__file__).parents[1]
SOURCES = read_sources(ROOT, ROOMS)
FOUND = folder_graph(SOURCES)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE = 400
# What takes long to import or is not there everywhere. It may be imported late, and so may what leads to it from a file
# that does not.
HEAVY = {"torch", "triton", "nvdiffrast", "bpy", "gpu", "imageio", "OpenImageIO", "PIL", "ray"}
LATE_PLACES = {
    "backend.cli.main": "each command imports what it needs, so that the others and --help answer at once",
}
PARAMETERS = pytest.mark.parametrize("module", SOURCES)


def modules_of(source: Source) -> set[str]:
    """The modules that a source names, also in `import_module`."""
    named = {target for found in imports_of(source) for target in found.targets[:1]}
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                named.add(node.args[0].value)
    return named


def forbidden_rooms(source: Source) -> set[str]:
    """What a source looks into though its room must not; the bundled protocol is the add-on's own."""
    room = source.module.partition(".")[0]
    named = modules_of(source)
    if room == "blender_addon":
        relative = {found.targets[0] for found in imports_of(source) if found.level}
        named = {name for name in named if name not in relative or not name.startswith("backend.protocol")}
    return {name.partition(".")[0] for name in named} & FORBIDDEN[room]


def leaves_its_room(source: Source) -> bool:
    depth = source.package.count(".") + 1
    return any(found.level > depth for found in imports_of(source))


def wrong_form(source: Source) -> list[int]:
    """The lines of imports that are relative where they must be absolute, or the other way round.

    Absolute in `render` and `backend`; relative in the add-on, whose name in Blender is another, and in the protocol,
    which is copied into it.
    """
    room = source.module.partition(".")[0]
    is_copied = source.module.startswith("backend.protocol")
    if room == "blender_addon" or is_copied:
        return [found.line for found in imports_of(source) if not found.level and external(found) in ROOMS]
    return [found.line for found in imports_of(source) if found.level]


def wrongly_late(sources: dict[str, Source], heavy: set[str] = HEAVY) -> list[str]:
    """Imports within functions that the house does not allow, or that do not say why they stand there."""
    leading, wrong = leading_to(sources, heavy), []
    for module, source in sources.items():
        lines = source.text.splitlines()
        for found in (found for found in imports_of(source) if found.late):
            targets = files_of(found, sources)
            is_kernel = all(target.endswith("_triton") for target in targets) and targets
            is_heavy = external(found) in heavy or (targets & leading and module not in leading)
            if not (is_kernel or is_heavy or module in LATE_PLACES):
                wrong.append(f"{module}:{found.line} must not be late")
            elif not _has_reason(lines, found.line - 1) and module not in LATE_PLACES:
                wrong.append(f"{module}:{found.line} does not say why it is late")
    return wrong


def _has_reason(lines: list[str], index: int) -> bool:
    """A comment on the line, or before the imports that it stands among."""
    if "#" in lines[index]:
        return True
    while re.match(r"\s*(from|import) ", lines[index]):
        index -= 1
    return lines[index].strip().startswith("#")


def test_the_rooms_are_what_is_checked():
    assert {module.partition(".")[0] for module in SOURCES} == set(ROOMS) == set(FORBIDDEN)
    assert len(SOURCES) > 150


@PARAMETERS
def test_a_room_does_not_look_where_it_must_not(module):
    assert not forbidden_rooms(SOURCES[module])


@PARAMETERS
def test_relative_imports_stay_in_their_room(module):
    assert not leaves_its_room(SOURCES[module])


@PARAMETERS
def test_imports_are_relative_only_where_files_are_copied(module):
    assert not wrong_form(SOURCES[module])


@pytest.mark.parametrize("module", [module for module in SOURCES if module.startswith("backend.protocol")])
def test_the_protocol_needs_only_the_standard_library_numpy_and_zmq(module):
    for found in imports_of(SOURCES[module]):
        if found.level:
            assert found.targets[0].startswith("backend.protocol"), f"line {found.line} leaves the protocol"
        else:
            assert external(found) in sys.stdlib_module_names | {"numpy", "zmq"}


@pytest.mark.parametrize("folder", sorted({*FOUND, *ARROWS}))
def test_a_folder_imports_from_those_in_the_list_and_from_all_of_them(folder):
    assert folder in ARROWS, f"support/arrows.py has no line for {folder}"
    assert folder in FOUND, f"{folder} is in support/arrows.py and has no files"
    assert FOUND[folder] - ARROWS[folder] == set(), "not allowed"
    assert ARROWS[folder] - FOUND[folder] == set(), "allowed and never used"


def test_folders_form_no_circle():
    assert circle(ARROWS) == []


def test_files_form_no_circle():
    assert circle(file_graph(SOURCES)) == []


def test_late_imports_are_of_what_is_heavy_and_say_why():
    assert wrongly_late(SOURCES) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_imports_another(path):
    source = Source(path.stem, path.read_text(encoding="utf-8"))
    named = [part for target in modules_of(source) for part in target.split(".")]
    assert not [part for part in named if part.startswith("test_") or part == "conftest"]
    assert "tests" not in named


def test_no_file_is_too_long():
    paths = [path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_the_add_on_finds_its_files_by_package_resources():
    """How many folders up the add-on's own lies is nobody's business."""
    climbing = re.compile(r"Path\(__file__\)(\.resolve\(\))?\.parents?\[|\.parent\.parent")
    addon = {module: source for module, source in SOURCES.items() if module.startswith("blender_addon")}
    assert len(addon) > 50
    assert not [module for module, source in addon.items() if climbing.search(source.text)]


class TestTheChecksThemselves:
    """On made-up sources that break each rule."""

    @staticmethod
    def sources(**texts: str) -> dict[str, Source]:
        """Files by name: `a__b` is the module a.b."""
        named = {name.replace("__", "."): text for name, text in texts.items()}
        return {module: Source(module, text) for module, text in named.items()}

    def test_imports_are_found_wherever_they_stand(self):
        text = """
import os.path, bpy
from torch.nn import functional
from . import wire
from ..jobs import Job
if TYPE_CHECKING:
    import typed
def late():
    from zmq import Context
    importlib.import_module("render.mesh")
"""
        source = Source("backend.protocol.keys", text)
        assert modules_of(source) == {
            "os.path",
            "bpy",
            "torch.nn",
            "backend.protocol",
            "backend.jobs",
            "typed",
            "zmq",
            "render.mesh",
        }
        found = {item.targets[0]: item for item in imports_of(source)}
        assert "backend.protocol.wire" in found["backend.protocol"].targets
        assert found["zmq"].late
        assert [name for name, item in found.items() if not item.runs] == ["typed", "zmq"]

    def test_the_bundled_protocol_is_the_backends(self):
        sources = self.sources(backend__protocol__wire="", blender_addon__ui__panels="from ..protocol.wire import pack")
        assert file_graph(sources)["blender_addon.ui.panels"] == {"backend.protocol.wire"}
        assert not forbidden_rooms(sources["blender_addon.ui.panels"])
        assert forbidden_rooms(Source("blender_addon.ui.panels", "import backend.protocol.wire")) == {"backend"}

    def test_a_room_that_is_looked_into_is_seen(self):
        assert forbidden_rooms(Source("render.light.light", "def f():\n    import bpy")) == {"bpy"}
        assert forbidden_rooms(Source("blender_addon.ui.panels", "import_module('torch.nn')")) == {"torch"}
        assert leaves_its_room(Source("render.light.light", "from ...backend import fit"))
        assert not leaves_its_room(Source("render.light.light", "from ..core import color"))

    def test_the_wrong_form_is_seen(self):
        assert wrong_form(Source("backend.job.run", "from .model import Job")) == [1]
        assert wrong_form(Source("backend.protocol.wire", "from backend.protocol.errors import Error")) == [1]
        assert wrong_form(Source("blender_addon.ui.panels", "import os\nimport blender_addon.session")) == [2]
        assert wrong_form(Source("backend.protocol.wire", "import os\nfrom .errors import Error")) == []

    def test_a_circle_of_files_is_seen_though_it_is_for_types_or_late(self):
        sources = self.sources(
            render__a__one="if TYPE_CHECKING:\n    from render.a.two import Two",
            render__a__two="def f():\n    from render.b import three",
            render__b__three="from render.a import one",
        )
        assert set(circle(file_graph(sources))) == set(sources)
        assert set(circle(folder_graph(sources))) == {"render/a", "render/b"}

    def test_kernels_belong_to_the_folder_they_are_in(self):
        sources = self.sources(render__a__kernels__one="from render.a import two", render__a__two="")
        assert folder_graph(sources) == {"render/a": set()}

    def test_late_imports_without_need_or_reason_are_seen(self):
        late = "def f():\n    {}"
        sources = self.sources(
            render__plain="",
            render__tensors="import torch",
            render__light="import render.plain\n" + late.format("import render.tensors  # torch takes a second"),
            render__silent=late.format("import torch"),
            render__early="import torch\n" + late.format("# a reason\n    import render.tensors"),
            render__needless=late.format("# a reason\n    import render.plain"),
            render__one_triton="",
            render__launch=late.format("# Triton is not everywhere.\n    import os\n    from render import one_triton"),
        )
        assert wrongly_late(sources) == [
            "render.silent:2 does not say why it is late",
            "render.early:4 must not be late",
            "render.needless:3 must not be late",
            "render.launch:3 must not be late",
        ]

    def test_names_in_a_list_of_files_and_others_are_told_apart(self):
        sources = self.sources(render__a__one="", render__a__two="from render.a import one, THREE")
        sources["render.a"] = Source("render.a", "THREE = 3", is_package=True)
        assert file_graph(sources)["render.a.two"] == {"render.a", "render.a.one"}
