# SPDX-License-Identifier: GPL-3.0-or-later
"""Start programs that start others, and end all of them together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .processes import NO_WINDOW, clean_environment


def start_group(
    command: list[str], directory: Path, dropped: Sequence[str] = (), added: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a program without input; its output, errors included, is text.

    directory: where it runs and puts its temporary files; dropped: variables of the user that it must not see; added: others.
    Raises OSError if it cannot start.
    """
    environment = {name: value for name, value in clean_environment(directory).items() if name not in dropped}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **(added or {})}
    flags = 0
    if sys.platform == "win32":
        flags = NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
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
        start_new_session=sys.platform != "win32",
        creationflags=flags,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a program started by `start_group` and all programs that it started. Does not wait for them."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, creationflags=NO_WINDOW)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
