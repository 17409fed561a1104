"""The rooms of the source tree, and who may look into which: read from the import statements themselves."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "render": {"zmq", "bpy", "backend", "blender_addon"},
    "backend": {"bpy", "blender_addon"},
    "blender_addon": {"torch", "render", "backend"},
}
FILES = [(room, path) for room in FORBIDDEN for path in sorted((ROOT / room).rglob("*.py"))]
PROTOCOL_FILES = sorted((ROOT / "backend" / "protocol").rglob("*.py"))


def imported_modules(source: str) -> list[str]:
    """Every module that is imported anywhere in the source, also within functions and by `import_module`; relative
    ones start with their dots.
    """
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            modules += [base] if node.module else [base + name.name for name in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                modules.append(node.args[0].value)
    return modules


def top_level(module: str) -> str:
    return module.split(".")[0]


def label(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


@pytest.mark.parametrize(("room", "path"), FILES, ids=label)
def test_a_room_does_not_look_where_it_must_not(room, path):
    modules = imported_modules(path.read_text(encoding="utf-8"))
    looked_at = {top_level(module) for module in modules if not module.startswith(".")}
    assert not looked_at & FORBIDDEN[room]


@pytest.mark.parametrize(("room", "path"), FILES, ids=label)
def test_relative_imports_stay_in_their_room(room, path):
    depth = len(path.relative_to(ROOT / room).parts)  # this many dots reach the room itself
    for module in imported_modules(path.read_text(encoding="utf-8")):
        dots = len(module) - len(module.lstrip("."))
        assert dots <= depth, module


@pytest.mark.parametrize("path", PROTOCOL_FILES, ids=label)
def test_the_protocol_needs_only_the_standard_library_numpy_and_zmq(path):
    depth = len(path.relative_to(ROOT / "backend" / "protocol").parts)
    for module in imported_modules(path.read_text(encoding="utf-8")):
        if module.startswith("."):
            assert len(module) - len(module.lstrip(".")) <= depth, f"{module} leaves the protocol"
        else:
            assert top_level(module) in sys.stdlib_module_names | {"numpy", "zmq"}


def test_importing_a_room_that_exists_is_what_is_checked():
    rooms = {room for room, _ in FILES}
    assert rooms == set(FORBIDDEN)
    assert len(PROTOCOL_FILES) >= 5


def test_imports_are_found_wherever_they_stand():
    source = """
import os.path, bpy
from torch.nn import functional
from . import wire
from ..jobs import Job
def late():
    from zmq import Context
    importlib.import_module("render.mesh")
"""
    found = set(imported_modules(source))
    assert found == {"os.path", "bpy", "torch.nn", ".wire", "..jobs", "zmq", "render.mesh"}
