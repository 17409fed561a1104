"""The Blender and the backend of a farm's worker process: they stay for its next object."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.cli.batch_log import EventLog
from backend.cli.blender_task import Blender, find_blender
from backend.cli.driving import Host, build_extension
from backend.cli.one_backend import OneBackend
from backend.cli.open_blender import OpenBlender
from backend.cli.staged_folder import lives

PREFIX = "pbrfit-farm-"


@dataclass
class _Kept:
    """folder: for the files of both; gpus: the GPUs that the backend sees."""

    folder: Path
    host: OpenBlender
    backend: OneBackend | None
    gpus: str | None

    def close(self) -> None:
        self.host.close()
        if self.backend is not None:
            self.backend.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_kept: dict[str | None, _Kept] = {}


def worker_host(binary: str | None, needs_backend: bool, place: str | None) -> Host:
    """The Blender of this process, with a backend where that is needed. Raises CommandError.

    place: the folder for their files, which somebody else removes; None for one of its own among the temporary files.

    Ray says by the environment which GPUs a task has. A backend that sees others is replaced.
    """
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    kept = _kept.get(binary)
    if kept is not None and needs_backend and (kept.backend is None or kept.gpus != gpus):
        _kept.pop(binary).close()
        kept = None
    if kept is None:
        kept = _kept[binary] = _started(find_blender(binary), needs_backend, gpus, place)
    elif kept.backend is not None:
        kept.backend.setup(threading.Event())  # waits for it, if it was started again
    return kept.host


def _started(blender: Blender, needs_backend: bool, gpus: str | None, place: str | None) -> _Kept:
    remove_left_folders()
    with contextlib.ExitStack() as undo:
        folder = new_folder(place)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        extension = build_extension(blender, folder)
        backend, setup = None, dict[str, Any]()
        if needs_backend:
            backend = OneBackend(folder / "backend", EventLog(None))
            undo.callback(backend.close)
            setup = backend.setup(threading.Event())
        work = folder / "blender"
        work.mkdir()
        undo.pop_all()
        return _Kept(folder, OpenBlender(blender, work, extension, setup), backend, gpus)


def new_folder(place: str | None = None) -> Path:
    """A folder that `remove_left_folders` removes when this process has ended."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))


def close_hosts() -> None:
    """End the Blenders and backends of this process."""
    while _kept:
        _kept.popitem()[1].close()


def remove_left_folders() -> None:
    """Remove the folders of processes of this machine that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        process = left.name.removeprefix(PREFIX).partition("-")[0]
        if process != str(os.getpid()) and not lives(process):
            shutil.rmtree(left, ignore_errors=True)


atexit.register(close_hosts)
