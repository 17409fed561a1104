# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting other programs from Blender."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO


def clean_environment() -> dict[str, str]:
    """This process's environment without Python's own variables, which may point into Blender's Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def start_process(command: list[str], directory: Path, stdout: IO | int, stderr: IO | int) -> subprocess.Popen:
    """Start `command` in `directory`, without input, without a console window and with a clean environment.

    Raises OSError where the program cannot be started.
    """
    return subprocess.Popen(
        command,
        cwd=directory,
        env=clean_environment(),
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
