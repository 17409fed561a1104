# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and end other programs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

TEMPORARY_VARIABLES = ("TMPDIR", "TEMP", "TMP")
if sys.platform == "win32":
    NO_WINDOW = subprocess.CREATE_NO_WINDOW
else:
    NO_WINDOW = 0
"""The creation flags of a program that opens no console window."""


def clean_environment(directory: Path) -> dict[str, str]:
    """This process's environment without Python's own variables, which may point into Blender's Python.

    The program's temporary files go to `directory`, so that none is left behind if the program is killed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if os.path.isfile(kept.get("OCIO", "")):
        kept["OCIO"] = os.path.abspath(kept["OCIO"])  # the program starts in another folder
    return kept | dict.fromkeys(TEMPORARY_VARIABLES, str(directory))


def start_process(
    command: list[str],
    directory: Path,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `command` in `directory`, without a console window and with a clean environment.

    Its temporary files go to `directory` too. Raises OSError if the program cannot start.
    """
    return subprocess.Popen(
        command,
        cwd=directory,
        env=clean_environment(directory),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        creationflags=NO_WINDOW,
    )


def end_process(process: subprocess.Popen[bytes], patience: float) -> None:
    """Ask a process to end, kill it after `patience` seconds (0: at once), and wait until it is gone."""
    if process.poll() is None and patience > 0.0:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        process.kill()
    process.wait()
