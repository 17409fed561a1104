"""The work of a batch: the objects of a file in one Blender, several files side by side if wanted, one backend for all."""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.cli.batch_jobs import FileObject, Job, Selection, check_folders
from backend.cli.batch_log import EventLog
from backend.cli.batch_plan import TO_DO, BatchCommand, Planned, known_jobs, plan, refused
from backend.cli.batch_progress import JobProgress
from backend.cli.batch_table import DONE, FAILED, INTERRUPTED, NOT_STARTED, REFUSED, UNKNOWN, UP_TO_DATE, Row
from backend.cli.blender_task import Blender, cancel_all, find_blender
from backend.cli.driving import build_extension
from backend.cli.errors import CommandError, Interrupted
from backend.cli.inputs import CLOCK_NS
from backend.cli.object_lists import note_objects
from backend.cli.one_backend import OneBackend
from backend.cli.open_blender import OpenBlender
from backend.cli.staged_folder import StagedFolder
from backend.cli.terminal import Progress

WAIT_SECONDS = 0.5


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

    def run(self, selections: Sequence[Selection], plans: list[list[Planned]]) -> list[Row]:
        """Do it; ``plans``: of each selection. Returns the rows of the table. Raises CommandError where there is no Blender."""
        self._plans = plans
        groups: dict[tuple[Path, str | None], list[int]] = {}
        for number, (selection, planned) in enumerate(zip(selections, plans, strict=True)):
            if any(one.row.status in TO_DO for one in planned):
                key = selection.blend.resolve(), selection.options["blender"]
                groups.setdefault(key, []).append(number)
        blenders = {binary: find_blender(binary) for _, binary in groups}
        if groups:
            with tempfile.TemporaryDirectory(prefix="pbrfit-", ignore_cleanup_errors=True) as folder:
                self._run_groups(selections, groups, blenders, Path(folder))
        rows = [one.row for planned in self._plans for one in planned]
        for row in rows:
            row.status = FAILED if row.status == REFUSED else NOT_STARTED if row.status in TO_DO else row.status
        return rows

    def _run_groups(
        self,
        selections: Sequence[Selection],
        groups: dict[tuple[Path, str | None], list[int]],
        blenders: dict[str | None, Blender],
        folder: Path,
    ) -> None:
        archives = {
            binary: build_extension(blender, folder / f"extension-{number}")
            for number, (binary, blender) in enumerate(blenders.items())
        }
        backend = self._backend = OneBackend(folder / "backend", self._log) if self._command.needs_backend else None

        waiting_groups = queue.SimpleQueue[tuple[str | None, list[int]]]()
        for (_, binary), mine in groups.items():
            waiting_groups.put((binary, mine))

        def work(number: int) -> None:
            """Do one file after the other; the Blender stays for the next one."""
            with contextlib.ExitStack() as stack:
                hosts: dict[str | None, OpenBlender] = {}
                for number_of_blender, (binary, blender) in enumerate(blenders.items()):
                    place = folder / f"{number}-{number_of_blender}"
                    place.mkdir()
                    host = hosts[binary] = OpenBlender(blender, place, archives[binary], setup)
                    stack.callback(host.close)
                with contextlib.suppress(queue.Empty):
                    while not self._stop.is_set():
                        binary, mine = waiting_groups.get_nowait()
                        for which in mine:
                            self._do_selection(which, selections[which], hosts[binary])

        pool = concurrent.futures.ThreadPoolExecutor(self._at_once)
        try:
            setup = {} if backend is None else backend.setup()
            waiting = {pool.submit(work, number) for number in range(min(self._at_once, len(groups)))}
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, WAIT_SECONDS, concurrent.futures.FIRST_COMPLETED)
                for one in done:
                    one.result()
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self._stop.set()
            cancel_all()
            pool.shutdown(cancel_futures=True)
            if backend is not None:
                backend.close()

    def _do_selection(self, which: int, selection: Selection, host: OpenBlender) -> None:
        planned = self._plans[which]
        if planned[0].row.status == UNKNOWN and not self._stop.is_set():
            planned = self._plans[which] = self._look_up(selection, planned[0].row, host)
        for one in planned:
            if one.row.status in TO_DO and not self._stop.is_set():
                self._do(one, host)

    def _look_up(self, selection: Selection, row: Row, host: OpenBlender) -> list[Planned]:
        """Find the objects of a file, and plan what to do about them."""
        progress = JobProgress(self._shown, self._lock, self._log, selection.blend.name, {"file": str(selection.blend)})
        progress.show("Looking for objects", 0.0)
        began, found = time.time_ns() - CLOCK_NS, dict[str, Any]()
        try:
            for event in host.events({"list": str(selection.blend.resolve())}):
                found = event.get("result", found)
            objects: list[FileObject] = note_objects(selection.root, selection.blend, began, found)
        except CommandError as error:
            self._failed(row, error)
            return [Planned(row)]
        planned = plan(selection, self._command, self._force, objects)
        jobs = known_jobs(self._plans)
        return [self._unless_taken(one, jobs) for one in planned]

    def _unless_taken(self, planned: Planned, jobs: list[Job]) -> Planned:
        """The same, or refused where another job has its folder. ``jobs``: all others; it is added."""
        if planned.job is not None:
            try:
                check_folders([*jobs, planned.job])
            except CommandError as error:
                return refused(planned.row, error)
            jobs.append(planned.job)
        return planned

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
                self._backend.setup()  # waits for it, if it was started again
            with StagedFolder(request) as staged:
                report = self._command.carry_out(staged.request, job.chosen, progress, host)
                staged.publish(report)
            row.take_report(report)
            row.status = DONE
        except Interrupted:
            row.status = INTERRUPTED
        except CommandError as error:
            self._failed(row, error)
        except OSError as error:
            self._failed(
                row,
                CommandError(f"{error.filename or job.out}: {error.strerror}.", "Make room, or choose another folder."),
            )
        except Exception as error:
            cause = f"PBRfit could not do it: {type(error).__name__}: {error}.\n{traceback.format_exc()}"
            self._failed(row, CommandError(cause, "Please report it."))
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
