"""A real Blender for the tests of what runs in one: started as the command line starts it, in processes of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from backend.blender_task import addon_file

SCENES = Path(__file__).with_name("scenes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "blend_files" in getattr(item, "fixturenames", ()) or "demo_file" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.blender)
            if importlib.util.find_spec("bpy") is None:
                item.add_marker(pytest.mark.skip(reason="the Blender module bpy is not installed"))


class BlendFiles:
    """The scenes of scenes.py as files, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self.folder / f"{name}.blend"
        if not path.exists():
            run_python(SCENES, name, self.folder)
        return path


def run_python(*arguments: object) -> None:
    """Run a script in this Python; a failure shows what it said."""
    result = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="session")
def blend_files(tmp_path_factory: pytest.TempPathFactory) -> BlendFiles:
    return BlendFiles(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene of the demo, saved."""
    path = tmp_path_factory.mktemp("demo") / "scene.blend"
    code = (
        f"import sys; sys.path.insert(0, {str(addon_file('command_line/demo_scene.py').parent)!r})\n"
        "import os, bpy, demo_scene\n"
        "demo_scene.build_demo_scene()\n"
        f"bpy.ops.wm.save_as_mainfile(filepath={str(path)!r})\n"
        "sys.stdout.flush()\n"
        "os._exit(0)"
    )
    run_python("-c", code)
    return path


def content_hash(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
