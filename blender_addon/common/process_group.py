# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that start others (pip, venv), ended together with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from .processes import clean_environment

DROPPED = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "VIRTUAL_ENV")
"""Variables of the user's that would lead pip elsewhere than into its own environment."""


def start_group(command: list[str], directory: Path) -> subprocess.Popen[str]:
    """Start a program that reads nothing and whose output, with its errors, is read line by line.

    directory: where it runs and puts its temporary files. Raises OSError where it cannot be started.
    """
    environment = {name: value for name, value in clean_environment(directory).items() if name not in DROPPED}
    environment |= {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    group: dict = {"start_new_session": True}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        **group,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a program started by `start_group` and all that it started. Does not wait for them."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, creationflags=subprocess.CREATE_NO_WINDOW)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
