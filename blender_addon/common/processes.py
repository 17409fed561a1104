# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting other programs from Blender."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

TEMPORARY_VARIABLES = ("TMPDIR", "TEMP", "TMP")


def clean_environment(directory: Path) -> dict[str, str]:
    """This process's environment without Python's own variables, which may point into Blender's Python.

    What the program writes as temporary files goes to `directory`: so nothing of it stays when it is killed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | dict.fromkeys(TEMPORARY_VARIABLES, str(directory))


def start_process(command: list[str], directory: Path, stdout: IO | int, stderr: IO | int) -> subprocess.Popen:
    """Start `command` in `directory`, without input, without a console window and with a clean environment.

    Its temporary files are in `directory` too. Raises OSError where the program cannot be started.
    """
    return subprocess.Popen(
        command,
        cwd=directory,
        env=clean_environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
    )


def end_process(process: subprocess.Popen, patience: float) -> None:
    """End a process: ask, and after `patience` seconds (0: at once) kill; it is gone when this returns."""
    if process.poll() is None and patience > 0.0:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        process.kill()
    process.wait()
