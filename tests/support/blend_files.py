"""A real Blender for the tests of what runs in one: started as the command line starts it, in processes of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.command_line import run_python

from backend.cli.blender_task import addon_file

SCENES = Path(__file__).with_name("blend_scenes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "blend_files" in getattr(item, "fixturenames", ()) or "demo_file" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.blender)
            if importlib.util.find_spec("bpy") is None:
                item.add_marker(pytest.mark.skip(reason="the Blender module bpy is not installed"))


class BlendFiles:
    """The scenes of blend_scenes.py as files, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self.folder / f"{name}.blend"
        if not path.exists():
            run_python(SCENES, name, self.folder)
        return path


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
