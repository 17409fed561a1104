"""What a worker of a farm does: one object, or a look into a file. It knows nothing of Ray.

A task is plain data, and so is what comes of it: no image and no array goes from one process to another. Worker and files
stay where they are: the paths must mean the same on every machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.cli.batch_commands import COMMANDS
from backend.cli.batch_plan import make
from backend.cli.batch_progress import LOG_SECONDS
from backend.cli.batch_table import DONE, FAILED, INTERRUPTED, Row
from backend.cli.blender_task import BlenderEnded
from backend.cli.driving import DriveRequest
from backend.cli.errors import CommandError, Interrupted
from backend.cli.farm_host import worker_host
from backend.cli.inputs import CLOCK_NS, why_again
from backend.cli.result_folder import REPORT, read_report

Tell = Callable[[str, dict[str, Any]], None]
"""Takes the name of an event, and its values as docs/batch.md lists them."""


@dataclass(frozen=True)
class FarmTask:
    """An object to do. ``request``: with whole paths; ``options``: of the command, ``command``; ``report``: of `report_stamp`
    when it was planned; ``pbrfit``: the version that planned it; ``why`` it is to be done; ``names``: what the log
    calls it by; ``attempt``: 1 for the first."""

    command: str
    request: DriveRequest
    options: dict[str, Any]
    report: tuple[int, int] | None
    pbrfit: str
    why: str
    names: dict[str, str]
    attempt: int = 1


@dataclass(frozen=True)
class FarmResult:
    """What came of a task. ``again``: whether another attempt may help; ``objects``, ``began``: of a look into a file."""

    status: str
    maps: int | None = None
    quality: str = ""
    psnr_db: float | None = None
    materials: tuple[str, ...] = ()
    cause: str = ""
    cure: str = ""
    again: bool = False
    host: str = ""
    seconds: float = 0.0
    objects: dict[str, Any] | None = None
    began: int = 0


def report_stamp(folder: Path) -> tuple[int, int] | None:
    """What tells one report.json from the next in a folder; None where there is none."""
    try:
        status = (folder / REPORT).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def do_object(task: FarmTask, tell: Tell, place: str | None = None) -> FarmResult:
    """Make the result of an object, whole or not at all; if an attempt whose worker died had made it, it stays.

    place: for `worker_host`."""
    began = time.monotonic()
    result = _object(task, tell, place)
    return dataclasses.replace(result, host=platform.node(), seconds=time.monotonic() - began)


def _object(task: FarmTask, tell: Tell, place: str | None) -> FarmResult:
    attempt = task.attempt if task.attempt > 1 else None
    tell("job_start", {**task.names, "why": task.why, "host": platform.node(), "attempt": attempt})
    command, request = COMMANDS[task.command], task.request
    row = Row(Path(task.names["file"]), request.object_name, DONE, request.out)
    try:
        _check_version(task.pbrfit)
        if report_stamp(request.out) != task.report and not why_again(request):
            row.take_report(read_report(request.out))
        else:
            host = worker_host(request.blender, command.needs_backend, place)
            chosen = argparse.Namespace(**task.options)
            row.take_report(make(command, request, chosen, _Told(task.names, tell), host))
    except (CommandError, Interrupted, KeyboardInterrupt) as error:
        return _failure(error)
    return FarmResult(row.status, row.maps, row.quality, row.psnr_db, tuple(row.materials))


def look_into(blend: str, blender: str | None, pbrfit: str, place: str | None = None) -> FarmResult:
    """Find the mesh objects of a file. place: for `worker_host`."""
    began, found = time.time_ns() - CLOCK_NS, dict[str, Any]()
    try:
        _check_version(pbrfit)
        for event in worker_host(blender, False, place).events({"list": blend}):
            found = event.get("result", found)
    except (CommandError, Interrupted, KeyboardInterrupt) as error:
        return _failure(error)
    return FarmResult(DONE, objects=found, began=began)


def _failure(error: BaseException) -> FarmResult:
    if isinstance(error, CommandError):
        ended = isinstance(error, BlenderEnded) or isinstance(error.__cause__, BlenderEnded)
        return FarmResult(FAILED, cause=error.cause, cure=error.cure, again=ended)
    return FarmResult(INTERRUPTED)


def _check_version(wanted: str) -> None:
    """Raise CommandError where this machine has another PBRfit than the one that planned the work."""
    here = importlib.metadata.version("pbrfit")
    if here != wanted:
        raise CommandError(
            f"{platform.node()} has PBRfit {here}, and the machine that hands out the work has {wanted}.",
            "Install the same version on every machine.",
        )


class _Told:
    """A `Progress` that tells the process which hands out the work."""

    def __init__(self, job: dict[str, str], tell: Tell) -> None:
        self._job = job
        self._tell = tell
        self._phase, self._told = "", 0.0

    def show(
        self,
        phase: str,
        fraction: float,
        seconds_left: float | None = None,
        psnr_db: float | None = None,
        message: str = "",
    ) -> None:
        now = time.monotonic()
        if phase == self._phase and now - self._told < LOG_SECONDS:
            return
        self._phase, self._told = phase, now
        values = {"seconds_left": seconds_left, "psnr_db": psnr_db, "message": message or None}
        self._tell("progress", {**self._job, "phase": phase, "fraction": round(fraction, 4), **values})

    def note(self, text: str) -> None:
        self._tell("note", {**self._job, "text": text})

    def clear(self) -> None:
        """There is no line to take away."""
