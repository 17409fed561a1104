# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend on this machine: find it, start it as its own process, watch it, and end it with Blender."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import bpy

from ..common.errors import LAST_WORDS, PbrFitError, log_tail
from ..common.package import ADDON
from ..common.processes import end_process, start_process
from ..protocol.keys import KeyPair, kept_keys
from ..protocol.private_files import KeyFileError
from ..protocol.zeromq import HAS_ZEROMQ
from .backend_environment import environment_python
from .offer import LACKS_CONNECTION, SET_UP

START_SECONDS = 60.0
CRASHED = (
    "Resume the fit, or start it again. If that happens again, choose a smaller resolution or fewer views; the log of each "
    "backend stays beside the others."
)
MOST_LOGS = 4


def backend_command(python: str) -> list[str]:
    """The command of the backend, without arguments.

    It is that of `python`, the preference, if that is not empty; else that of the environment that "Set Up Backend"
    made; else pbrfit on the search path. Raises PbrFitError if there is no such program.
    """
    if python:
        if shutil.which(python) is None:
            raise PbrFitError(f'The backend\'s Python "{python}" does not exist or cannot be run.', SET_UP)
        return [python, "-m", "backend"]
    own = environment_python()
    if own is not None:
        return [str(own), "-m", "backend"]
    command = shutil.which("pbrfit")
    if command is None:
        raise PbrFitError("No backend is set up yet.", SET_UP)
    return [command]


def require_connection() -> None:
    """Raise PbrFitError if this add-on cannot talk to a backend at all."""
    if not HAS_ZEROMQ:
        raise PbrFitError(*LACKS_CONNECTION)


def client_keys() -> KeyPair:
    """The keys that identify this user's Blender to a backend. They are in the add-on's folder; the first call makes them.

    Raises PbrFitError if they can be neither read nor made, or if there is nothing to connect with.
    """
    require_connection()
    try:
        folder = bpy.utils.extension_path_user(ADDON, create=True)
        return kept_keys(Path(folder) / "client_keys.json", own_folder=True)
    except (KeyFileError, OSError) as error:
        cause = getattr(error, "cause", f"PBRfit cannot use the add-on's folder: {error}.")
        raise PbrFitError(cause, getattr(error, "cure", "Check who may write to Blender's user folder.")) from error


class LocalBackend:
    """A backend process of this Blender. It ends by itself when Blender has ended."""

    def __init__(self, command: list[str], home: Path, public_key: str) -> None:
        """Start it; returns at once. Raises PbrFitError if the program cannot start.

        home: an existing folder for its log, address, temporary files and checkpoints; public_key: of its only client.
        """
        self.command = command
        self._address_file = home / "address.json"
        self._address_file.unlink(missing_ok=True)
        self._log = home / "backend.log"
        self._deadline = time.monotonic() + START_SECONDS
        self._address: tuple[str, str] | None = None
        arguments = ["serve", "--address-file", str(self._address_file), "--parent-pid", str(os.getpid())]
        arguments += [f"--client-key={public_key}", "--checkpoints", str(home / "checkpoints")]
        try:
            _keep_earlier(self._log)
            with open(self._log, "wb") as log:
                self._process = start_process(command + arguments, home, log, subprocess.STDOUT)
        except OSError as error:
            raise PbrFitError(f'The backend "{command[0]}" cannot start: {error.strerror}.', SET_UP) from error

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def poll_address(self) -> tuple[str, str] | None:
        """Its address and public key, or None while it starts. Raises PbrFitError if it has ended or takes too long."""
        status = self._process.poll()
        if status is not None:
            cure = SET_UP if self._address is None else CRASHED
            raise PbrFitError(f"The backend ended with status {status}.{self.last_words()}", cure)
        if self._address is None:
            try:
                said = json.loads(self._address_file.read_text(encoding="utf-8"))
                self._address = said["address"], said["public_key"]
            except FileNotFoundError:
                if time.monotonic() > self._deadline:
                    cause = f"The backend did not answer within {START_SECONDS:.0f} seconds.{self.last_words()}"
                    raise PbrFitError(cause, "Try again, and look for programs that keep this machine busy.") from None
        return self._address

    def stop(self, patience: float) -> None:
        """Ask the process to end, and kill it after `patience` seconds (0: at once)."""
        end_process(self._process, patience)

    def last_words(self) -> str:
        """The end of its log, to add to an error's cause; empty if the log is empty."""
        tail = log_tail(self._log)
        return f"{LAST_WORDS}\n{tail}\n" if tail else ""


def _keep_earlier(log: Path) -> None:
    """Give the logs of earlier backends the next number, so that what they said last can be read: backend.1.log is the latest."""
    names = [log, *(log.with_suffix(f".{number}.log") for number in range(1, MOST_LOGS))]
    for older, newer in reversed(list(zip(names[1:], names, strict=False))):
        with contextlib.suppress(OSError):
            os.replace(newer, older)


_local: LocalBackend | None = None
_home: Path | None = None
# A render calls from its own thread.
_lock = threading.RLock()


def local_backend(command: list[str], public_key: str) -> LocalBackend:
    """The backend of this Blender, started if none runs; it keeps running for the next fit.

    Its folder, with the checkpoints of interrupted fits, stays until `stop_local_backend`.
    """
    global _local, _home
    with _lock:
        if _local is not None and (not _local.running or _local.command != command):
            lose_local_backend()
        if _home is None:
            _home = Path(tempfile.mkdtemp(prefix="pbrfit_backend_"))
        if _local is None:
            _local = LocalBackend(command, _home, public_key)
        return _local


def local_backend_runs() -> bool:
    """Whether this Blender has a backend that runs."""
    return _local is not None and _local.running


def lose_local_backend() -> None:
    """Kill this Blender's backend, if it has one; the next one can use its checkpoints."""
    global _local
    if _local is not None:
        _local.stop(patience=0.0)
        _local = None


def stop_local_backend() -> None:
    """End this Blender's backend, if it has one, and remove all its files."""
    global _local, _home
    if _local is not None:
        _local.stop(patience=1.0)
        _local = None
    if _home is not None:
        shutil.rmtree(_home, ignore_errors=True)
        _home = None
