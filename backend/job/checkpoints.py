"""The files that let a job continue after a crash.

Each job has a folder, named by what it fits (settings, arrays, views). It holds `running.npz` for the set of maps whose
fit runs, and `set<N>.npz` for each finished set. Files are replaced as a whole. A file that cannot be read, or belongs to
another job, is ignored with a line in the log. Nothing is pickled. A folder of ours has a marker file, and only what we name
ourselves is ever removed, so that the folder for checkpoints may hold anything else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job.checkpoint_file import DamagedFile, read_file, write_file
from backend.protocol.errors import CauseAndCure

INTERVAL_S = 5.0
# Copying the running set may cost this share of the fit's time.
MOST_SHARE = 0.02
# A file is being written for at most this share of the time.
MOST_WRITING = 0.2
MOST_JOBS = 16
OLDEST_S = 14 * 24 * 3600.0
_ABANDONED_S = 3600.0
_FORMAT = 2
_RUNNING, _TOGETHER = "running.npz", "together.npz"
_MARKER, _TEMPORARY = "pbrfit-checkpoint", "pbrfit-"
_OUR_FILES = re.compile(rf"running\.npz|together\.npz|set\d+\.npz|{_TEMPORARY}\w+\.tmp")

logger = logging.getLogger(__name__)


class CheckpointError(CauseAndCure):
    """The folder for checkpoints cannot be used."""


@dataclass(frozen=True)
class RunningSet:
    """A set of maps whose fit runs.

    about: JSON values: the plan of the fit, and where in it it is. arrays: float32, by name: all that the fit changes. What
    is in them is for `backend.job.set_fit` to say and to check.
    """

    set_index: int
    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def light(self) -> NDArray[Any] | None:
        """Base of the light that the job learns, float32 [6, R, R, 3], or None."""
        return self.arrays.get("light")


@dataclass(frozen=True)
class LearnedTogether:
    """What the fit of all sets in one texture left: texels float32 [r, r, C], and the light, float32 [6, R, R, 3]."""

    texels: NDArray[Any]
    light: NDArray[Any]


@dataclass(frozen=True)
class FinishedSet:
    """A finished set of maps: its files by name, what was measured (JSON values), and a learned light as in `RunningSet`."""

    files: dict[str, bytes]
    measured: dict[str, Any]
    light: NDArray[Any] | None


@dataclass
class Saved:
    """All that an earlier run of a job has left."""

    running: RunningSet | None = None
    together: LearnedTogether | None = None
    finished: dict[int, FinishedSet] = field(default_factory=dict)


class CheckpointFolder:
    """The folder that keeps checkpoints. Makes it, and removes old ones; raises `CheckpointError`.

    interval_s: least seconds between two files of a job's running set.
    """

    def __init__(self, path: str | os.PathLike[str], interval_s: float = INTERVAL_S) -> None:
        self.path = Path(path)
        self.interval_s = interval_s
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clear()
        except OSError as error:
            cause = f"The folder {self.path} cannot keep checkpoints: {error.strerror}."
            raise CheckpointError(cause, "Choose a folder that can be written to.") from error

    def job(self, key: str, most_bytes: int) -> JobCheckpoint:
        """The checkpoint of a job. key: names what it fits, hexadecimal. most_bytes: how large a file of it may be."""
        return JobCheckpoint(self.path / key, self.interval_s, most_bytes)

    def _clear(self) -> None:
        folders = sorted((path.stat().st_mtime, path) for path in self.path.iterdir() if is_ours(path))
        now = time.time()
        for count, (changed, path) in enumerate(reversed(folders)):
            if count >= MOST_JOBS or now - changed > OLDEST_S:
                remove_ours(path)
                continue
            for temporary in path.glob(f"{_TEMPORARY}*.tmp"):
                with contextlib.suppress(OSError):
                    if now - temporary.stat().st_mtime > _ABANDONED_S:
                        temporary.unlink()


def is_ours(path: Path) -> bool:
    """Whether a path is the folder of a job, and not something else that stands beside them."""
    return path.is_dir() and not path.is_symlink() and (path / _MARKER).is_file()


def remove_ours(path: Path) -> None:
    """Remove the files of a job's folder, and the folder where nothing else is in it."""
    with contextlib.suppress(OSError):
        for file in path.iterdir():
            if file.name != _MARKER and _OUR_FILES.fullmatch(file.name):
                file.unlink(missing_ok=True)
        if {file.name for file in path.iterdir()} == {_MARKER}:
            (path / _MARKER).unlink()
            path.rmdir()


class JobCheckpoint:
    """The checkpoint of one job. The worker calls it; a thread of its own writes, so that the fit need not wait."""

    def __init__(self, path: Path, interval_s: float, most_bytes: int) -> None:
        self._path = path
        self._interval_s = interval_s
        self._most_bytes = most_bytes
        self._next = time.monotonic() + interval_s
        self._writer: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return self._path.name

    def read(self) -> Saved:
        """What an earlier run of the same job has left."""
        saved = Saved()
        for path in sorted(self._path.glob("*.npz")):
            try:
                about, arrays = read_file(path, self._most_bytes)
                if about["format"] != _FORMAT or about["key"] != self._path.name:
                    raise DamagedFile("it belongs to another job or version")
                light = arrays.get("light")
                if path.name == _RUNNING:
                    saved.running = RunningSet(int(about["set"]), dict(about["fit"]), arrays)
                elif path.name == _TOGETHER:
                    saved.together = LearnedTogether(arrays["texels"], arrays["light"])
                else:
                    files = {name[5:]: data.tobytes() for name, data in arrays.items() if name.startswith("file:")}
                    saved.finished[int(about["set"])] = FinishedSet(files, dict(about["measured"]), light)
            except (DamagedFile, KeyError, TypeError, ValueError) as error:
                logger.warning("ignored the checkpoint %s: %s: %s", path, type(error).__name__, error)
        return saved

    def ignore(self, reason: str) -> None:
        """Log why something that was read does not fit the job."""
        logger.warning("ignored the checkpoint in %s: %s", self._path, reason)

    def offer(self, copy: Callable[[], RunningSet]) -> None:
        """Write the running set that `copy` returns, if it is time and the one before has been written."""
        began = time.monotonic()
        if began < self._next or (self._writer is not None and self._writer.is_alive()):
            return
        running = copy()
        now = time.monotonic()
        self._next = now + max(self._interval_s, (now - began) / MOST_SHARE)
        self._write(_RUNNING, running.arrays, {"set": running.set_index, "fit": running.about})

    def keep_running(self, running: RunningSet) -> None:
        """Write the running set now, and wait until it is written."""
        self._write(_RUNNING, running.arrays, {"set": running.set_index, "fit": running.about})
        self.wait()

    def keep_together(self, together: LearnedTogether) -> None:
        """Write what the fit of all sets together left."""
        self._write(_TOGETHER, {"texels": together.texels, "light": together.light}, {})

    def keep(self, set_index: int, finished: FinishedSet) -> None:
        """Write a finished set."""
        arrays = {f"file:{name}": np.frombuffer(data, np.uint8) for name, data in finished.files.items()}
        if finished.light is not None:
            arrays["light"] = finished.light
        self._write(f"set{set_index}.npz", arrays, {"set": set_index, "measured": finished.measured})

    def wait(self) -> None:
        """Wait until all is written."""
        if self._writer is not None:
            self._writer.join()

    def discard(self) -> None:
        """Remove all files: the job is over."""
        self.wait()
        if is_ours(self._path):
            remove_ours(self._path)

    def _write(self, name: str, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
        self.wait()
        self._writer = threading.Thread(target=self._save, args=(name, arrays, about), name="pbrfit-checkpoint")
        self._writer.start()

    def _save(self, name: str, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            if not is_ours(self._path):
                self._path.mkdir(mode=0o700, exist_ok=True)
                if any(self._path.iterdir()):  # an empty one may be ours, of a backend killed just here
                    raise FileExistsError(f"something else is in {self._path}")
                (self._path / _MARKER).touch(mode=0o600)
            about = {"format": _FORMAT, "key": self._path.name, **about}
            write_file(self._path / name, about, arrays, _TEMPORARY)
        except OSError as error:  # a full disk must not end the fit
            logger.warning("no checkpoint was written to %s: %s", self._path, error)
        self._next = max(self._next, time.monotonic() + (time.monotonic() - began) / MOST_WRITING)
