"""Set Up Backend by real clicks, as on a machine that reaches a company's index but not PyTorch's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.package_index import fetch_pip, serving, write_wheel
from support.window.window_blender import WindowBlender

import build_addon

INSIDE = Path(__file__).parents[1] / "support" / "window" / "setup_inside.py"
SCREEN = (1100, 760)
SETUP_SECONDS = 300.0
REDRAW_STATES = 8


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """An index that gives one megabyte in a second, with pip and a torch that borrows the packages of the tests' backend."""
    folder = tmp_path / "packages"
    folder.mkdir()
    fetch_pip(folder)
    code = "import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])"
    backend = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
    packages = subprocess.run([backend, "-c", code], capture_output=True, check=True).stdout
    write_wheel(folder, "torch", "2.99", {"borrowed.pth": packages, "torch.ballast": os.urandom(20_000_000)})
    with serving(folder, bytes_per_second=1e6) as address:
        yield address


@pytest.fixture
def blender(index: str, display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WindowBlender]:
    """A Blender that shows the add-on's preferences; the way to all other machines is through a proxy that is not there."""
    archive = build_addon.build(tmp_path / "extension", "bundled", [build_addon.this_platform()])
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    values = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1", "PIP_INDEX_URL": index}
    values |= {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    # The fixture `display` skips the test if there is none.
    command = os.environ.get("PBRFIT_BLENDER_WINDOW") or shutil.which("blender-window") or shutil.which("blender")
    folder = Path(tempfile.mkdtemp(prefix="pbrfit_window_"))
    request = {"base_python": os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable}
    with WindowBlender(command, display, SCREEN, folder, archive, request, INSIDE) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def drawn(blender: WindowBlender) -> None:
    """Wait until the preferences are drawn again: the add-on's timer asks for it a few times in a second."""
    for _ in range(REDRAW_STATES):
        blender.next_state()


def test_from_offline_to_a_backend_that_is_set_up(blender: WindowBlender, screenshots: Path) -> None:
    assert not blender.next_state()["online"]
    blender.screenshot(screenshots / "setup_1_offline.png")
    blender.click("pbrfit.setup_backend")  # grayed out
    assert blender.next_state()["setup"] == ""
    blender.click("extensions.userpref_allow_online")
    blender.wait_for(lambda state: state["online"])
    blender.click("pbrfit.setup_backend")
    blender.wait_for(lambda state: state["setup"] == "running")
    blender.wait_for(lambda state: state["setup"] == "failed", SETUP_SECONDS)
    drawn(blender)
    blender.screenshot(screenshots / "setup_2_out_of_reach.png")

    blender.click("pbrfit.setup_backend", 'torch="CONFIGURED"')
    started = blender.wait_for(lambda state: state["message"].startswith("Downloading torch: "), SETUP_SECONDS)
    assert started["torch"] == "CONFIGURED"
    blender.click("pbrfit.cancel_setup")
    cancelled = blender.wait_for(lambda state: state["setup"] == "cancelled")
    assert cancelled["folder"] == ["setup.log"]
    drawn(blender)
    blender.screenshot(screenshots / "setup_3_cancelled.png")

    blender.click("pbrfit.setup_backend")
    early = blender.wait_for(lambda state: state["message"].startswith("Downloading torch: "), SETUP_SECONDS)
    blender.wait_for(lambda state: state["megabytes"] > early["megabytes"] + 3.0)
    drawn(blender)
    blender.screenshot(screenshots / "setup_4_downloading.png")
    blender.click("pbrfit.show_setup_log")
    drawn(blender)
    blender.screenshot(screenshots / "setup_5_log.png")
    blender.xdotool("key", "Escape")
    done = blender.wait_for(lambda state: state["setup"] in {"done", "failed"}, SETUP_SECONDS)
    drawn(blender)
    blender.screenshot(screenshots / "setup_6_done.png")
    assert done["setup"] == "done"
    assert done["message"] == "The backend is set up. In the 3D viewport press N, and open the tab PBRfit"
    assert done["environment"]
