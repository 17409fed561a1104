"""Hands the objects of a batch to Ray, so many at a time, and takes what comes of them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.cli.batch_jobs import Folders, Selection
from backend.cli.batch_log import EventLog
from backend.cli.batch_plan import TO_DO, BatchCommand, Planned, known_jobs, plan_found
from backend.cli.batch_table import DONE, FAILED, INTERRUPTED, NOT_STARTED, REFUSED, UNKNOWN, Row
from backend.cli.farm_ray import Ray, Room
from backend.cli.farm_task import FarmResult, FarmTask, report_stamp
from backend.cli.object_lists import note_objects
from backend.cli.terminal import Progress

WAIT_SECONDS = 0.5
MORE_WAITING = 8


@dataclass
class _Item:
    """Something to hand out: an object, or without ``task`` a look into the file of a selection."""

    row: Row
    selection: int
    task: FarmTask | None = None
    attempt: int = 1


class FarmWork:
    """Does what is to be done of a batch by Ray's workers; afterwards `interrupted` says whether a person stopped it.

    It holds a row and a few paths for each object, never an image: what a task makes, its worker writes.
    """

    def __init__(
        self,
        command: BatchCommand,
        log: EventLog,
        shown: Progress,
        room: Room,
        retries: int,
        waiting: int | None,
        stop_at_first_error: bool,
        force: bool,
    ) -> None:
        """``retries``: further attempts where a worker or a Blender died; ``waiting``: the most that Ray has at once."""
        self.interrupted = False
        self._command = command
        self._log = log
        self._shown = shown
        self._room = room
        self._retries = retries
        self._waiting = waiting
        self._stop_at_first_error = stop_at_first_error
        self._force = force
        self._stop = False
        self._count, self._ended, self._message = 0, 0, ""
        self._selections: Sequence[Selection] = ()
        self._plans: list[list[Planned]] = []
        self._folders = Folders()
        self._to_do: deque[_Item] = deque()
        self._at_work: dict[Any, _Item] = {}
        self._version = importlib.metadata.version("pbrfit")

    def run(self, selections: Sequence[Selection], plans: list[list[Planned]]) -> list[Row]:
        """Do it; ``plans``: of each selection. Returns the rows of the table. Raises CommandError where there is no Ray."""
        self._selections, self._plans, self._folders = selections, plans, Folders(known_jobs(plans))
        for number, planned in enumerate(plans):
            self._put(number, planned)
        if self._to_do and not self._stop:
            with Ray(self._room) as ray:
                if ray.dashboard:
                    self._shown.note(f"Ray's dashboard: {ray.dashboard}")
                if ray.lacks:
                    self._shown.note(f"{ray.lacks} The work waits for one.")
                try:
                    self._hand_out(ray)
                except KeyboardInterrupt:
                    self.interrupted = True
                    self._shown.note("Stopping; what is finished stays.")
                    ray.cancel(self._at_work)
        for item in self._at_work.values():
            item.row.status = INTERRUPTED if item.task is not None else NOT_STARTED
            if item.task is not None:
                self._log.write("job_end", **item.row.as_json())
        rows = [one.row for planned in self._plans for one in planned]
        for row in rows:
            row.status = FAILED if row.status == REFUSED else NOT_STARTED if row.status in TO_DO else row.status
        return rows

    def _put(self, number: int, planned: Sequence[Planned]) -> None:
        """Note what is to be done of a selection."""
        for one in planned:
            if one.row.status == UNKNOWN:
                self._to_do.append(_Item(one.row, number))
            elif one.row.status in TO_DO and one.job is not None and one.request is not None:
                out = one.request.result.parent
                request = dataclasses.replace(one.request, blend=one.job.blend.resolve(), out=out)
                task = FarmTask(
                    self._command.name,
                    request,
                    dict(self._selections[number].options),
                    report_stamp(out),
                    self._version,
                    one.row.why or "new",
                    {name: str(value) for name, value in _named(one.row).items()},
                )
                self._to_do.append(_Item(one.row, number, task))
                self._count += 1
            elif one.row.status == REFUSED and self._stop_at_first_error:
                self._stop = True

    def _hand_out(self, ray: Ray) -> None:
        while True:
            most = self._waiting or 2 * ray.places() + MORE_WAITING
            while self._to_do and len(self._at_work) < most and not self._stop:
                self._submit(ray, self._to_do.popleft())
            if not self._at_work:
                return
            ended = list(ray.finished(self._at_work, WAIT_SECONDS))
            for event, values in ray.told(bool(ended)):
                self._tell(event, values)
            for reference, result in ended:
                self._take(self._at_work.pop(reference), result)
            self._show()

    def _submit(self, ray: Ray, item: _Item) -> None:
        if item.task is None:
            blender = self._selections[item.selection].options["blender"]
            self._at_work[ray.look_into(str(item.row.file.resolve()), blender, self._version)] = item
            return
        self._at_work[ray.do_object(dataclasses.replace(item.task, attempt=item.attempt))] = item

    def _take(self, item: _Item, result: FarmResult) -> None:
        """What came of an attempt: it is done, tried again or given up."""
        row = item.row
        if result.again and item.attempt <= self._retries and not self._stop:
            item.attempt += 1
            self._log.write("retry", **_named(row), attempt=item.attempt, cause=result.cause)
            self._shown.note(f'"{row.object_name}" of {row.file} is tried again: {result.cause.splitlines()[0]}')
            self._to_do.appendleft(item)
            return
        if result.status == DONE and item.task is None:
            self._found(item, result)
            return
        row.status, row.seconds = result.status, result.seconds
        self._ended += item.task is not None
        row.maps, row.quality, row.psnr_db = result.maps, result.quality, result.psnr_db
        row.materials, row.cause, row.cure = list(result.materials), result.cause, result.cure
        if row.status == FAILED:
            row.why = ""
            self._shown.note(f'"{row.object_name}" of {row.file} failed: {row.cause.splitlines()[0]}')
            self._stop = self._stop or self._stop_at_first_error
        self._log.write("job_end", **row.as_json(), host=result.host or None)

    def _found(self, item: _Item, result: FarmResult) -> None:
        """Plan what to do about the objects that a file has."""
        selection = self._selections[item.selection]
        objects = note_objects(selection.root, selection.blend, result.began, result.objects or {})
        planned = plan_found(selection, self._command, self._force, objects, self._folders)
        self._plans[item.selection] = planned
        for one in planned:
            self._log.write("plan", **one.row.as_json())
        self._put(item.selection, planned)

    def _tell(self, event: str, values: dict[str, Any]) -> None:
        """Show and log what a worker said."""
        self._log.write(event, **values)
        if event == "note":
            self._shown.note(f"{values['object']}  {values['text']}")
        elif event == "progress":
            self._message = f"{values['object']} {values['phase']} {values['fraction']:.0%}"
            self._show()

    def _show(self) -> None:
        share = self._ended / max(self._count, 1)
        self._shown.show(f"{self._ended} of {self._count}", share, None, None, self._message)


def _named(row: Row) -> dict[str, Any]:
    return {"file": row.file, "object": row.object_name, "out": row.out}
