# SPDX-License-Identifier: GPL-3.0-or-later
"""Set up the backend in an environment of its own, never in Blender's Python.

A thread runs venv and pip; Blender's main thread only reads its status.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..common.errors import PbrFitError
from ..common.package import shipped_file
from ..common.process_group import kill_group, start_group
from .backend_check import doctor_command, doctor_report
from .backend_environment import (
    SLOTS,
    BackendEnvironment,
    environment_to_update,
    environments_folder,
    keep,
    unfinished,
)
from .pip_output import NOT_THERE, PipProgress, pip_trouble
from .setup_status import CANCELLED, DONE, FAILED, SetupStatus
from .system_python import find_python
from .torch_builds import TorchBuild

LOG = "setup.log"
# Variables of the user that would make pip install outside its own environment, and ours.
DROPPED = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "VIRTUAL_ENV")
ADDED = {"PIP_USER": "0", "PIP_NO_INPUT": "1"}
COUNTING_PIP = (24, 1)  # the first with --progress-bar raw
# Parts of the progress bar. Torch takes most of the time.
FOUND, MADE, UPDATED, TORCH, PACKAGES = 0.02, 0.08, 0.12, 0.75, 0.92
DOWNLOADING = 0.8  # of the part of one run of pip; the rest is for the installation
OTHER_PACKAGES = 0.35  # of the download
READY = "The backend is set up. In the 3D viewport press N, and open the tab PBRfit"


class _Cancelled(Exception):
    """The user has cancelled the setup."""


class _NotThere(PbrFitError):
    """PyTorch's own index does not give it; the one that pip is configured for may."""


def bundled_wheel() -> Path:
    """The backend's wheel in this add-on. Raises PbrFitError if there is none."""
    wheels = sorted(shipped_file("backend_wheel").glob("pbrfit-*.whl"))
    if len(wheels) != 1:
        cause = "This add-on contains no backend: it was not installed from a zip that build_addon.py makes."
        raise PbrFitError(cause, "Install PBRfit's zip in Blender again.")
    return wheels[0]


class BackendSetup:
    """One setup, from its start to its end. Create it in the main thread; no method waits, except `close`."""

    def __init__(self, build: TorchBuild, python: str = "") -> None:
        """Start it. build: of torch; python: the one to make the environment with, or empty to find one.

        Raises PbrFitError if the add-on contains no backend, OSError if its folder cannot be made.
        """
        self._build, self._wanted = build, python
        self._wheel = bundled_wheel()
        self.folder = environments_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.folder / LOG
        # If pip is killed, what it has unpacked is here, and is removed with this folder.
        self._temporary = self.folder / "t"
        self._status = SetupStatus(expected_megabytes=build.download_megabytes)
        self._downloaded = 0.0  # megabytes, by the runs of pip that have ended
        self._began, self._ended = time.monotonic(), 0.0
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="pbrfit-setup", daemon=True)
        self._thread.start()

    @property
    def status(self) -> SetupStatus:
        """How far it is, or how it ended."""
        return self._status

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return (self._ended or time.monotonic()) - self._began

    def cancel(self) -> None:
        """End it soon. It removes what it made; an environment from before stays in use."""
        self._cancelled.set()
        with self._lock:
            if self._process is not None:
                kill_group(self._process)

    def close(self, patience: float = 5.0) -> None:
        """Cancel it and wait until it has ended, at most `patience` seconds."""
        self.cancel()
        self._thread.join(patience)

    # In the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        outcome = self._outcome()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._ended = time.monotonic()
        self._status = outcome

    def _outcome(self) -> SetupStatus:
        """Do the setup; returns the final status."""
        try:
            self._temporary.mkdir(exist_ok=True)
            with open(self.log_path, "w", encoding="utf-8") as self._log:
                try:
                    made = self._make()
                except PbrFitError as error:
                    self._log.write(f"\n{error}\n")
                    raise
            return replace(self._status, state=DONE, message=READY, fraction=1.0, environment=made)
        except _Cancelled:
            return replace(self._status, state=CANCELLED, message="Cancelled")
        except PbrFitError as error:
            failure = error
        except OSError as error:
            cause = f"The environment in {self.folder} could not be made: {error.strerror}."
            failure = PbrFitError(
                cause, "Check who may write to Blender's user folder, and the free space on its disk."
            )
        except Exception as error:
            traceback.print_exc()
            failure = PbrFitError(f"PBRfit itself failed: {error!r}.", "Please report this, with the log.")
        elsewhere = isinstance(failure, _NotThere)
        return replace(
            self._status,
            state=FAILED,
            message="The backend was not set up",
            error=failure,
            other_index_may_do=elsewhere,
        )

    def _make(self) -> BackendEnvironment:
        kept = environment_to_update(self.folder)
        if kept is not None and kept.build == self._build.name and self._wanted in ("", kept.base):
            return self._update(kept)
        self._check_room()
        base = find_python(self._wanted, self._temporary)
        self._say(f"With {base}", FOUND)
        slot = next(name for name in SLOTS if kept is None or name != kept.slot)
        made = BackendEnvironment(self.folder, slot, self._version(), self._build.name, base.path)
        shutil.rmtree(self.folder / slot, ignore_errors=True)
        try:
            self._say("Making an environment", FOUND)
            self._run_command([base.path, "-m", "venv", str(self.folder / slot)], "An environment could not be made")
            self._install(str(made.python))
            self._check(made)
            self._stop_where_cancelled()
        except BaseException:
            shutil.rmtree(self.folder / slot, ignore_errors=True)
            raise
        keep(made)
        return made

    def _update(self, kept: BackendEnvironment) -> BackendEnvironment:
        """Update an environment to this add-on's version; its torch stays."""
        made = replace(kept, version=self._version())
        # An unfinished update is not used; the next setup goes on with it, and does not download torch again.
        keep(unfinished(kept))
        self._install(str(made.python), again=True)
        self._check(made)
        keep(made)
        return made

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder).free / 1e6
        # While pip unpacks files, its downloads are there too.
        needed = self._build.disk_megabytes + self._build.download_megabytes
        if free < needed:
            cause = (
                f"The disk of {self.folder} has {free / 1000:.1f} GB left; the setup needs {needed / 1000:.1f} GB, of "
                f"which {self._build.disk_megabytes / 1000:.1f} GB stay in use."
            )
            cure = "Make room on it, or install the backend elsewhere (docs/install.md) and choose that Python."
            raise PbrFitError(cause, cure)

    def _version(self) -> str:
        return self._wheel.name.split("-")[1]

    def _install(self, python: str, again: bool = False) -> None:
        """Install everything; `again`: also PBRfit if this version is there, since it may be another build."""
        # If this fails, the setup goes on: an older pip works too, with a coarser progress bar.
        self._say("Updating pip", MADE)
        self._pip(python, ["--upgrade", "pip"], counts_bytes=False, part=(MADE, UPDATED, 5.0), required=False)
        version = self._run_command([python, "-m", "pip", "--version"], "pip does not run")
        numbers = re.search(r"pip (\d+)\.(\d+)", version)
        counts = numbers is not None and tuple(map(int, numbers.groups())) >= COUNTING_PIP
        index = ["--index-url", self._build.index] if self._build.index else []
        size = float(self._build.download_megabytes)
        self._say("Asking the package index for torch", UPDATED)
        try:
            self._pip(python, ["torch", *index], counts, (UPDATED, TORCH, size * (1.0 - OTHER_PACKAGES)))
        except PbrFitError as error:
            if index and error.cause in NOT_THERE:
                raise _NotThere(error.cause, error.cure) from error
            raise
        self._say("Asking the package index for the other packages", TORCH)
        self._pip(python, [str(self._wheel)], counts, (TORCH, PACKAGES, size * OTHER_PACKAGES))
        if again:
            self._pip(python, ["--force-reinstall", "--no-deps", str(self._wheel)], counts, (PACKAGES, PACKAGES, 1.0))

    def _check(self, environment: BackendEnvironment) -> None:
        self._say("Checking", PACKAGES)
        backend = [str(environment.python), "-m", "backend"]
        output = self._run_command(doctor_command(backend), "The backend does not run", statuses=(0, 1))
        report = doctor_report("The environment", backend, output, environment.version)
        if report.error is not None:
            raise report.error

    def _pip(
        self,
        python: str,
        arguments: list[str],
        counts_bytes: bool,
        part: tuple[float, float, float],
        required: bool = True,
    ) -> None:
        """Run pip install. part: where the progress bar starts and ends meanwhile, and how many megabytes are expected."""
        first, last, expected = part
        progress = PipProgress(counts_bytes)

        def take(line: str) -> bool:
            worth_keeping = progress.take(line)
            within = DOWNLOADING * min(1.0, progress.megabytes / max(expected, progress.known_megabytes))
            within = DOWNLOADING if progress.installing else within
            message = progress.message or self._status.message
            self._say(message, first + (last - first) * within, self._downloaded + progress.megabytes)
            return worth_keeping

        command = [python, "-m", "pip", "--require-virtualenv", "install", "--progress-bar"]
        command += ["raw" if counts_bytes else "off", *arguments]
        status = self._read(command, take)
        self._downloaded += progress.megabytes
        if status != 0 and required:
            raise pip_trouble(progress.lines)

    def _run_command(self, command: list[str], failure: str, statuses: tuple[int, ...] = (0,)) -> str:
        """Run a program and return its output. Raises PbrFitError, with the last line, for any other status."""
        lines: list[str] = []

        def take(line: str) -> bool:
            lines.append(line)
            return True

        status = self._read(command, take)
        if status not in statuses:
            last = next((line for line in reversed(lines) if line.strip()), f"it ended with status {status}")
            raise PbrFitError(f"{failure}: {last}", "Choose another Python to build on, then set up again.")
        return "\n".join(lines)

    def _read(self, command: list[str], take: Callable[[str], bool]) -> int:
        """Run a program, give each line to `take`, log the line if that returns True, and return the status."""
        self._stop_where_cancelled()
        self._log.write(f"$ {' '.join(command)}\n")
        process = start_group(command, self._temporary, DROPPED, ADDED)
        with self._lock:
            self._process = process
        if self._cancelled.is_set():
            kill_group(process)
        output = process.stdout
        assert output is not None  # start_group opens a pipe
        with output:
            for line in output:
                if take(line.rstrip("\n")):
                    self._log.write(line)
                    self._log.flush()
        status = process.wait()
        with self._lock:
            self._process = None
        self._stop_where_cancelled()
        return status

    def _stop_where_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled

    def _say(self, message: str, fraction: float, megabytes: float = 0.0) -> None:
        fraction, megabytes = max(fraction, self._status.fraction), max(megabytes, self._status.megabytes)
        self._status = replace(self._status, message=message, fraction=fraction, megabytes=megabytes)


def start_setup(build: TorchBuild, python: str) -> BackendSetup:
    """Start to set up the backend (see `BackendSetup`). Raises PbrFitError if the setup cannot start."""
    try:
        return BackendSetup(build, python)
    except OSError as error:
        cause = f"PBRfit cannot use the add-on's folder: {error}."
        raise PbrFitError(cause, "Check who may write to Blender's user folder.") from error
