# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend on this machine: found, started as its own process, watched, and ended with Blender."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .errors import PbrFitError, log_tail
from .processes import end_process, start_process
from .protocol.keys import new_keys

START_SECONDS = 60.0
SET_UP = "Install it with `pip install pbrfit`, and choose that Python in the preferences of the add-on PBRfit."

CLIENT_KEYS = new_keys()
"""Who this Blender is to a backend."""


def backend_command(python: str) -> list[str]:
    """The command of the backend, without its arguments; `python`: the preference, may be empty.

    Raises PbrFitError where there is no such program.
    """
    if python:
        if shutil.which(python) is None:
            raise PbrFitError(f'The backend\'s Python "{python}" does not exist or cannot be run.', SET_UP)
        return [python, "-m", "backend"]
    command = shutil.which("pbrfit")
    if command is None:
        raise PbrFitError("The backend was not found: there is no command pbrfit on the search path.", SET_UP)
    return [command]


class LocalBackend:
    """A backend process of this Blender. It ends by itself when Blender is gone."""

    def __init__(self, command: list[str]) -> None:
        """Start it; returns at once. Raises PbrFitError where the program cannot be started."""
        self.command = command
        self._directory = Path(tempfile.mkdtemp(prefix="pbrfit_backend_"))
        self._address_file = self._directory / "address.json"
        self._log = self._directory / "backend.log"
        self._deadline = time.monotonic() + START_SECONDS
        self._address: tuple[str, str] | None = None
        arguments = ["serve", "--address-file", str(self._address_file), "--parent-pid", str(os.getpid())]
        arguments += [f"--client-key={CLIENT_KEYS.public}"]  # one word: a key may start with -
        try:
            with open(self._log, "wb") as log:
                self._process = start_process(command + arguments, self._directory, log, subprocess.STDOUT)
        except OSError as error:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise PbrFitError(f'The backend "{command[0]}" cannot be started: {error.strerror}.', SET_UP) from error

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def poll_address(self) -> tuple[str, str] | None:
        """Its address and public key, or None while it starts. Raises PbrFitError when it ended or takes too long."""
        status = self._process.poll()
        if status is not None:
            raise PbrFitError(f"The backend ended with status {status}.{self.last_words()}", SET_UP)
        if self._address is None:
            try:
                said = json.loads(self._address_file.read_text(encoding="utf-8"))
                self._address = said["address"], said["public_key"]
            except FileNotFoundError:
                if time.monotonic() > self._deadline:
                    cause = f"The backend did not answer within {START_SECONDS:.0f} seconds.{self.last_words()}"
                    raise PbrFitError(cause, "Try again, and look at what else keeps this machine busy.") from None
        return self._address

    def stop(self) -> None:
        """End the process and remove its files."""
        end_process(self._process, patience=1.0)
        shutil.rmtree(self._directory, ignore_errors=True)

    def last_words(self) -> str:
        """The end of its log, to follow a sentence of an error; empty where it said nothing."""
        tail = log_tail(self._log)
        return f" Its last words:\n{tail}\n" if tail else ""


_local: LocalBackend | None = None


def local_backend(command: list[str]) -> LocalBackend:
    """The backend of this Blender, started where none runs; it is kept warm for the next fit."""
    global _local
    if _local is not None and (not _local.running or _local.command != command):
        stop_local_backend()
    if _local is None:
        _local = LocalBackend(command)
    return _local


def stop_local_backend() -> None:
    """End this Blender's backend, if it has one."""
    global _local
    if _local is not None:
        _local.stop()
        _local = None
