"""The add-on's preferences in a real window: drawn without an error in each state, and updated by the add-on's timer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import build_addon

INSIDE = Path(__file__).parents[1] / "support" / "window" / "preferences_inside.py"
TIMEOUT_S = 240.0


def test_the_check_shows_what_it_finds(display: str, tmp_path: Path) -> None:
    # The fixture `display` skips the test if there is none.
    command = os.environ.get("PBRFIT_BLENDER_WINDOW") or shutil.which("blender-window") or shutil.which("blender")
    archive = build_addon.build(tmp_path / "extension", "bundled", [build_addon.this_platform()])
    good = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
    request = {
        "extension": str(archive),
        "pythons": ["/no/such/python", good],
        "answer": str(tmp_path / "answer.json"),
    }
    ended = subprocess.run(
        [command, "--factory-startup", "--python", str(INSIDE), "--", json.dumps(request)],
        env={**os.environ, "DISPLAY": display, "BLENDER_USER_RESOURCES": str(tmp_path / "user")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said, said
    missing, found = json.loads((tmp_path / "answer.json").read_text())
    assert not missing["works"]
    assert "does not exist or cannot be run" in missing["lines"][0]
    assert found["works"], found
    assert any(line.startswith("torch: ") for line in found["lines"])
