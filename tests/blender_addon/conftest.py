"""A real Blender: the module bpy with user files of its own, into which the built extension is installed.

Nothing of `blender_addon` is imported from the source tree: tests reach it by the fixture `addon`. The extension is
built without wheels, for this very Python, unless PBRFIT_EXTENSION_ZIP names one; the backend is this Python's unless
PBRFIT_BACKEND_PYTHON names another (see blender_versions.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import build_addon

EXTENSION = "bl_ext.user_default.pbrfit"

# Set before bpy is imported, so that bpy reads and writes no file of the user who runs the tests.
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="pbrfit_blender_user_")
_exit_status = 0


class WithoutBlender(pytest.File):
    """A file of tests that is not imported: it or its helpers import bpy, which is not installed."""

    def collect(self) -> NoReturn:
        pytest.skip("the Blender module bpy is not installed")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> WithoutBlender | None:
    if importlib.util.find_spec("bpy") is None:
        return WithoutBlender.from_parent(parent, path=module_path)
    return None  # pytest's own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.blender)


def pytest_sessionfinish(exitstatus: int) -> None:
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if "bpy" in sys.modules:
        # Blender 4.2 crashes and 4.5 hangs when Python shuts down with classes registered.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_status)


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if named := os.environ.get("PBRFIT_EXTENSION_ZIP"):
        return Path(named)
    return build_addon.build(tmp_path_factory.mktemp("extension"), "none")


@pytest.fixture(scope="session")
def installed_extension(extension_zip: Path) -> str:
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=str(extension_zip), repo="user_default", enable_on_install=True)
    assert EXTENSION in bpy.context.preferences.addons
    return EXTENSION


class Folder:
    """A folder of the installed add-on: its modules, and the folders in it, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, part: str) -> Any:
        module = importlib.import_module(f"{self.name}.{part}")
        return Folder(module.__name__) if hasattr(module, "__path__") else module


class Addon(Folder):
    """The installed add-on: its folders by name."""

    @property
    def preferences(self):
        import bpy

        return bpy.context.preferences.addons[EXTENSION].preferences


@pytest.fixture
def addon(installed_extension: str):
    """The add-on, enabled in an empty file; its backend is that of this Python, or the given one."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=installed_extension)
    found = Addon(EXTENSION)
    found.preferences.backend_python = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
    yield found
    if installed_extension in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_disable(module=installed_extension)
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.fixture(params=["", "ACEScg"])
def colors(addon: Addon, request: pytest.FixtureRequest) -> Addon:
    """The add-on, in a file with the working space of Blender's configuration, or (from Blender 5 on) with another one."""
    import bpy

    if request.param:
        if not hasattr(bpy.data, "colorspace"):
            pytest.skip("this Blender's files have no working space")
        if bpy.data.colorspace.working_space == request.param:
            pytest.skip("it is this configuration's own")
        bpy.ops.wm.set_working_color_space(working_space=request.param)
    return addon


@pytest.fixture
def files() -> dict[str, bytes]:
    """Result files of one set of maps."""
    from support.blender import assigning

    return {
        "kd.png": assigning.png(assigning.kd_pixels()),
        "orm.png": assigning.png(np.full((4, 4, 3), (255, 100, 30), dtype=np.uint8)),
        "normal.png": assigning.png(np.full((4, 4, 3), (32768, 32768, 65535), dtype=np.uint16)),
    }
