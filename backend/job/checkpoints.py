"""What a job needs to go on after a crash, in files.

Each job has a folder named by what it fits (settings, arrays, views); in it `running.npz` for the set of maps that is
being fitted, and `set<N>.npz` for each that is finished. Files are replaced as a whole; what cannot be read, or belongs
to another job, is ignored with a line in the log. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.protocol.errors import CauseAndCure

INTERVAL_S = 5.0
# Taking a snapshot may cost this share of the fit's time.
MOST_SHARE = 0.02
MOST_JOBS = 16
OLDEST_S = 14 * 24 * 3600.0
_ABANDONED_S = 3600.0
_FORMAT = 1
_SLACK_BYTES = 16 << 20
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError)

logger = logging.getLogger(__name__)


class CheckpointError(CauseAndCure):
    """The folder cannot be used."""


@dataclass(frozen=True)
class RunningSet:
    """A set of maps in the middle of its fit: texels float16 [r, r, C] after `iteration` iterations of the plan.

    light: base of a light that is learned with it, float32 [6, R, R, 3].
    """

    set_index: int
    iteration: int
    texels: np.ndarray
    light: np.ndarray | None


@dataclass(frozen=True)
class FinishedSet:
    """A set of maps that is done: its files by name, and what was measured (JSON values)."""

    files: dict[str, bytes]
    measured: dict[str, Any]
    light: np.ndarray | None


@dataclass
class Saved:
    """All that is left of a job."""

    running: RunningSet | None = None
    finished: dict[int, FinishedSet] = field(default_factory=dict)


class CheckpointFolder:
    """Where checkpoints are kept. Makes the folder, and clears away what is old; raises `CheckpointError`.

    interval_s: least seconds between two snapshots of a job.
    """

    def __init__(self, path: str | os.PathLike, interval_s: float = INTERVAL_S) -> None:
        self.path = Path(path)
        self.interval_s = interval_s
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clear()
        except OSError as error:
            cause = f"The folder {self.path} cannot keep checkpoints: {error.strerror}."
            raise CheckpointError(cause, "Choose a folder that can be written to.") from error

    def job(self, key: str, most_bytes: int) -> JobCheckpoint:
        """The checkpoint of a job. key: names what it fits, hexadecimal. most_bytes: what a snapshot of it may take."""
        return JobCheckpoint(self.path / key, self.interval_s, most_bytes)

    def _clear(self) -> None:
        folders = sorted((path.stat().st_mtime, path) for path in self.path.iterdir() if path.is_dir())
        now = time.time()
        for count, (changed, path) in enumerate(reversed(folders)):
            if count >= MOST_JOBS or now - changed > OLDEST_S:
                shutil.rmtree(path, ignore_errors=True)
                continue
            for temporary in path.glob("*.tmp"):
                with contextlib.suppress(OSError):
                    if now - temporary.stat().st_mtime > _ABANDONED_S:
                        temporary.unlink()


class JobCheckpoint:
    """The checkpoint of one job. The worker calls; a thread of its own writes, so that the fit need not wait."""

    def __init__(self, path: Path, interval_s: float, most_bytes: int) -> None:
        self._path = path
        self._interval_s = interval_s
        self._most_bytes = most_bytes
        self._next = time.monotonic() + interval_s
        self._writer: threading.Thread | None = None

    def read(self) -> Saved:
        """What an earlier run of the same job has left."""
        saved = Saved()
        for path in sorted(self._path.glob("*.npz")):
            try:
                arrays, about = self._load(path)
                light = arrays.get("light")
                if path.name == "running.npz":
                    saved.running = RunningSet(int(about["set"]), int(about["iteration"]), arrays["texels"], light)
                else:
                    files = {name[5:]: data.tobytes() for name, data in arrays.items() if name.startswith("file:")}
                    saved.finished[int(about["set"])] = FinishedSet(files, dict(about["measured"]), light)
            except _DAMAGED as error:
                logger.warning("ignored the checkpoint %s: %s: %s", path, type(error).__name__, error)
        return saved

    def ignore(self, reason: str) -> None:
        """Says that what was read does not fit the job."""
        logger.warning("ignored the checkpoint in %s: %s", self._path, reason)

    def offer(self, snapshot: Callable[[], RunningSet]) -> None:
        """Writes a snapshot where it is time to, and the one before has been written."""
        began = time.monotonic()
        if began < self._next or (self._writer is not None and self._writer.is_alive()):
            return
        running = snapshot()
        now = time.monotonic()
        self._next = now + max(self._interval_s, (now - began) / MOST_SHARE)
        arrays = {"texels": running.texels} | ({} if running.light is None else {"light": running.light})
        self._write("running.npz", arrays, {"set": running.set_index, "iteration": running.iteration})

    def keep(self, set_index: int, finished: FinishedSet) -> None:
        """Writes a set that is done."""
        arrays = {f"file:{name}": np.frombuffer(data, np.uint8) for name, data in finished.files.items()}
        if finished.light is not None:
            arrays["light"] = finished.light
        self._write(f"set{set_index}.npz", arrays, {"set": set_index, "measured": finished.measured})

    def wait(self) -> None:
        """Returns when all is written."""
        if self._writer is not None:
            self._writer.join()

    def discard(self) -> None:
        """Removes all of it: the job is over."""
        self.wait()
        shutil.rmtree(self._path, ignore_errors=True)

    def _write(self, name: str, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
        self.wait()
        self._writer = threading.Thread(target=self._save, args=(name, arrays, about), name="pbrfit-checkpoint")
        self._writer.start()

    def _save(self, name: str, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
        about = {"format": _FORMAT, "key": self._path.name, **about}
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        temporary = ""
        try:
            self._path.mkdir(mode=0o700, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                np.savez(file, about=text, **arrays)
            os.replace(temporary, self._path / name)
        except OSError as error:  # a full disk must not end the fit
            logger.warning("no checkpoint was written to %s: %s", self._path, error)
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _load(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > self._most_bytes + _SLACK_BYTES:
                raise ValueError(f"it holds {size} bytes, more than such a job needs")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(arrays.pop("about").tobytes())
        if about["format"] != _FORMAT or about["key"] != self._path.name:
            raise ValueError("it belongs to another job or version")
        return arrays, about
