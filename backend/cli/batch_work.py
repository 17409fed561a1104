"""The work of a batch: the objects of a file in one Blender, several files side by side if wanted, one backend for all."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.cli.batch_jobs import FileObject, Folders, Selection
from backend.cli.batch_log import EventLog
from backend.cli.batch_plan import TO_DO, BatchCommand, Planned, known_jobs, make, plan_found
from backend.cli.batch_progress import JobProgress
from backend.cli.batch_table import DONE, FAILED, INTERRUPTED, NOT_STARTED, REFUSED, UNKNOWN, UP_TO_DATE, Row
from backend.cli.blender_task import Blender, cancel_all, find_blender
from backend.cli.driving import build_extension
from backend.cli.errors import CommandError, Interrupted
from backend.cli.inputs import CLOCK_NS
from backend.cli.object_lists import note_objects
from backend.cli.one_backend import OneBackend
from backend.cli.open_blender import OpenBlender
from backend.cli.terminal import Progress

WAIT_SECONDS = 0.5
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class _Task:
    """Something to do in the Blender of this program, None for the module bpy."""

    binary: str | None
    do: Callable[[OpenBlender], None]


class _Tasks:
    """What is still to be done; a task may add others."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0

    def put(self, binary: str | None, do: Callable[[OpenBlender], None]) -> None:
        """Add a task."""
        with self._lock:
            self._open += 1
        self._waiting.put(_Task(binary, do))

    def next(self, stop: threading.Event) -> _Task | None:
        """The next task; None where all are done, or it is to stop. Waits while another task may add some."""
        while not stop.is_set() and self._open:
            with contextlib.suppress(queue.Empty):
                return self._waiting.get(timeout=POLL_SECONDS)
        return None

    def done(self) -> None:
        """One of those from `next` is done."""
        with self._lock:
            self._open -= 1


class BatchWork:
    """Does what is to be done of a batch; afterwards `interrupted` says whether it was stopped by the person."""

    def __init__(
        self,
        command: BatchCommand,
        log: EventLog,
        shown: Progress,
        at_once: int,
        stop_at_first_error: bool,
        force: bool,
    ) -> None:
        self.interrupted = False
        self._command = command
        self._log = log
        self._shown = shown
        self._at_once = at_once
        self._stop_at_first_error = stop_at_first_error
        self._force = force
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._begun = 0
        self._backend: OneBackend | None = None
        self._plans: list[list[Planned]] = []
        self._folders = Folders()

    def run(self, selections: Sequence[Selection], plans: list[list[Planned]]) -> list[Row]:
        """Do it; ``plans``: of each selection. Returns the rows of the table. Raises CommandError where there is no Blender."""
        self._plans, self._folders = plans, Folders(known_jobs(plans))
        self._stop_if_refused(planned for one in plans for planned in one)
        binaries = {
            selection.options["blender"]
            for selection, planned in zip(selections, plans, strict=True)
            if any(one.row.status in TO_DO for one in planned)
        }
        blenders = {binary: find_blender(binary) for binary in binaries}
        if blenders and not self._stop.is_set():
            with tempfile.TemporaryDirectory(prefix="pbrfit-", ignore_cleanup_errors=True) as folder:
                self._work_side_by_side(selections, blenders, Path(folder))
        rows = [one.row for planned in self._plans for one in planned]
        for row in rows:
            row.status = FAILED if row.status == REFUSED else NOT_STARTED if row.status in TO_DO else row.status
        return rows

    def _work_side_by_side(
        self, selections: Sequence[Selection], blenders: dict[str | None, Blender], folder: Path
    ) -> None:
        archives = {
            binary: build_extension(blender, folder / f"extension-{number}")
            for number, (binary, blender) in enumerate(blenders.items())
        }
        tasks = _Tasks()
        for number, selection in enumerate(selections):
            if any(one.row.status == UNKNOWN for one in self._plans[number]):
                tasks.put(selection.options["blender"], functools.partial(self._look_up, tasks, number, selection))
            else:
                self._put(tasks, selection, self._plans[number])
        pool = concurrent.futures.ThreadPoolExecutor(self._at_once)
        waiting: set[concurrent.futures.Future[None]] = set()
        try:
            if self._command.needs_backend:
                self._backend = OneBackend(folder / "backend", self._log)
            setup = {} if self._backend is None else self._backend.setup(self._stop)

            def work(number: int) -> None:
                """Do one task after the other; the Blender stays for the next one."""
                with contextlib.ExitStack() as stack:
                    hosts: dict[str | None, OpenBlender] = {}
                    for number_of_blender, (binary, blender) in enumerate(blenders.items()):
                        place = folder / f"{number}-{number_of_blender}"
                        place.mkdir()
                        host = hosts[binary] = OpenBlender(blender, place, archives[binary], setup)
                        stack.callback(host.close)
                    while (task := tasks.next(self._stop)) is not None:
                        try:
                            task.do(hosts[task.binary])
                        finally:
                            tasks.done()

            waiting = {pool.submit(work, number) for number in range(self._at_once)}
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, WAIT_SECONDS, concurrent.futures.FIRST_COMPLETED)
                for one in done:
                    one.result()
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self._stop.set()
            if waiting:
                cancel_all()
            pool.shutdown(cancel_futures=True)
            if self._backend is not None:
                self._backend.close()

    def _put(self, tasks: _Tasks, selection: Selection, plans: Sequence[Planned]) -> None:
        """Add what is to be done of these."""
        for planned in plans:
            if planned.row.status in TO_DO:
                tasks.put(selection.options["blender"], functools.partial(self._do, planned))

    def _look_up(self, tasks: _Tasks, which: int, selection: Selection, host: OpenBlender) -> None:
        """Find the objects of a file, plan what to do about them, and add it to the tasks."""
        row = self._plans[which][0].row
        progress = JobProgress(self._shown, self._lock, self._log, selection.blend.name, {"file": str(selection.blend)})
        progress.show("Looking for objects", 0.0)
        began, found = time.time_ns() - CLOCK_NS, dict[str, Any]()
        try:
            for event in host.events({"list": str(selection.blend.resolve())}):
                found = event.get("result", found)
            objects: list[FileObject] = note_objects(selection.root, selection.blend, began, found)
        except CommandError as error:
            self._failed(row, error)
            return
        with self._lock:
            self._plans[which] = plan_found(selection, self._command, self._force, objects, self._folders)
        for one in self._plans[which]:
            self._log.write("plan", **one.row.as_json())
        self._stop_if_refused(self._plans[which])
        self._put(tasks, selection, self._plans[which])

    def _stop_if_refused(self, plans: Iterable[Planned]) -> None:
        """Begin nothing more if one of these is refused, and the first error is to be the last."""
        if self._stop_at_first_error and any(one.row.status == REFUSED for one in plans):
            self._stop.set()

    def _do(self, planned: Planned, host: OpenBlender) -> None:
        """Do one job; whatever it ends with is in its row."""
        row, job, request = planned.row, planned.job, planned.request
        assert job is not None  # only what is looked up or refused has none
        assert request is not None
        with self._lock:
            self._begun += 1
            name = f"[{self._begun}/{self._count()}] {job.object_name}"
        named = {"file": str(job.blend), "object": job.object_name, "out": str(job.out)}
        progress = JobProgress(self._shown, self._lock, self._log, name, named)
        self._log.write("job_start", **named, why=row.why or "new")
        began = time.monotonic()
        try:
            if self._backend is not None:
                self._backend.setup(self._stop)  # waits for it, if it was started again
            row.take_report(make(self._command, request, job.chosen, progress, host))
            row.status = DONE
        except Interrupted:
            row.status = INTERRUPTED
        except CommandError as error:
            self._failed(row, error)
        row.seconds = time.monotonic() - began
        progress.clear()
        self._log.write("job_end", **row.as_json())

    def _failed(self, row: Row, error: CommandError) -> None:
        """Note a failure, and whether anything more is begun after it."""
        if self.interrupted:  # its Blender was ended
            row.status = INTERRUPTED
            return
        row.status, row.why, row.cause, row.cure = FAILED, "", error.cause, error.cure
        with self._lock:
            self._shown.note(f'"{row.object_name}" of {row.file} failed: {error.cause.splitlines()[0]}')
        if self._stop_at_first_error:
            self._stop.set()

    def _count(self) -> int:
        """How many jobs there are to begin in all, as far as that is known."""
        begun = sum(one.row.status not in (UP_TO_DATE, REFUSED) for planned in self._plans for one in planned)
        return max(begun, self._begun)
