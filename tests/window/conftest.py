"""A Blender with a real window, on a virtual display."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.window.window_blender import WindowBlender

import build_addon

SCREEN = (1100, 760)
DISPLAY_SECONDS = 20.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.window)


def window_blender_command() -> str:
    """The Blender to test with; skips if there is none, or no way to give it a display."""
    named = os.environ.get("PBRFIT_BLENDER_WINDOW", "")
    command = named or shutil.which("blender-window") or shutil.which("blender")
    if not command or shutil.which(command) is None:
        pytest.skip("no Blender with a window: install one, or name it in PBRFIT_BLENDER_WINDOW")
    missing = [tool for tool in ("Xvfb", "xdotool", "import") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the window test needs Xvfb, xdotool and ImageMagick; missing: {', '.join(missing)}")
    return command


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """A virtual display of its own, such as ":7"."""
    window_blender_command()
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "+extension", "GLX"]
    server = subprocess.Popen([*command, "-noreset"], pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(DISPLAY_SECONDS)


@pytest.fixture
def screenshots(tmp_path: Path) -> Iterator[Path]:
    """A folder for screenshots; PBRFIT_SCREENSHOTS can name one that keeps them."""
    yield tmp_path
    kept = os.environ.get("PBRFIT_SCREENSHOTS")
    if kept:
        shutil.copytree(tmp_path, kept, dirs_exist_ok=True)


@pytest.fixture
def blender(
    request: pytest.FixtureRequest, display: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WindowBlender]:
    """A running Blender with the extension that carries its own wheels, and a painted object in an HDRI.

    An indirect parameter is the request: `views` (otherwise 5), `scene`, `python`; see WindowBlender.
    """
    command = window_blender_command()
    archive = build_addon.build(tmp_path_factory.mktemp("extension"), "bundled", [build_addon.this_platform()])
    folder = Path(tempfile.mkdtemp(prefix="pbrfit_window_"))
    with WindowBlender(
        command, display, SCREEN, folder, archive, {"views": 5, **getattr(request, "param", {})}
    ) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)
