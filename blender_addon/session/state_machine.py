# SPDX-License-Identifier: GPL-3.0-or-later
"""One click's fits, from the export to the assigned materials, as a state machine that never makes Blender wait.

`start` does what needs the main thread and the open file: preflight, export, saving a copy. After it, `poll` is to be
called again and again, by a timer in a window or by a loop without one; it only moves finished things on. What a killed
process leaves behind is kept, so that `resume` goes on from there.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ..common.errors import PbrFitError, own_fault
from ..export.plan import GroupPlan
from ..protocol.client import events
from ..settings.preferences import addon_preferences
from . import prepare as job_files
from .assigning import Assigning
from .backend_link import BackendLink, BackendLost
from .fit_queue import FitQueue, ReferenceView
from .open_file import OpenFile
from .reference_work import ReferenceWork
from .session_maps import GrowingMaps, SetInTheMaking
from .session_status import (
    APPLYING,
    ASSIGNING,
    CANCELLED,
    DONE,
    EXPORTING,
    FAILED,
    FITTING,
    IDLE,
    RENDERING,
    RENDERING_SHARE,
    STARTED,
    STARTING,
    WORKING_STATES,
    SessionResult,
    SessionStatus,
    fit_fraction,
    with_point,
)

SECONDS_BETWEEN_POLLS = 0.1
SECONDS_BETWEEN_SLICES = 0.02
SENDING_SECONDS = 0.02  # of one poll, for views that are read from their files again


class OptimizeSession:
    """The fits of one click. Use it once; call everything from Blender's main thread.

    maps: those of its jobs as they grow. device: the backend's, empty while it is not known.
    """

    def __init__(self) -> None:
        self.status = SessionStatus()
        self.maps = GrowingMaps()
        self._queue = FitQueue([])
        self._folder: Path | None = None
        self._link: BackendLink | None = None
        self._references: ReferenceWork | None = None
        self._file: OpenFile | None = None
        self.device = ""
        self._assigning: Assigning | None = None
        self._submitted = False
        self._to_send: deque[tuple[int, np.ndarray | None]] = deque()

    @property
    def plans(self) -> list[GroupPlan]:
        """What is fitted, one plan for each job."""
        return [job.plan for job in self._queue]

    @property
    def results(self) -> list[SessionResult]:
        """What the jobs leave, as far as they have come."""
        return [job.result for job in self._queue]

    @property
    def result(self) -> SessionResult | None:
        """What the current job leaves, or the last one's; None before the export."""
        return self._queue.current.result if len(self._queue) else None

    @property
    def maps_in_the_making(self) -> dict[tuple[int, int], list[SetInTheMaking]]:
        """The sets of maps that are fitted and not assigned yet, by object (session_uid) and slot of the open file."""
        working = self.status.state in WORKING_STATES or self.status.state == APPLYING
        return self.maps.of_slots(self._queue.jobs) if working and self._file.is_open else {}

    def reference_views(self) -> list[ReferenceView]:
        """The references rendered so far, of all jobs; they stay until the session is closed or comes to nothing."""
        if self._folder is None or self._file is None or not self._file.is_open:
            return []
        return [view for job in self._queue for view in job.reference_views()]

    @property
    def seconds_between_polls(self) -> float:
        """How soon `poll` wants to be called again."""
        busy = self._assigning is not None or bool(self._to_send)
        return SECONDS_BETWEEN_SLICES if busy else SECONDS_BETWEEN_POLLS

    # Starting ---------------------------------------------------------------------------------------------------

    def start(self, context: bpy.types.Context, progress: Callable[[float], None] = lambda _fraction: None) -> None:
        """Check, export and start everything; afterwards the artist's scene is as before.

        progress: called with 0..1 while it exports. Raises PbrFitError, with nothing left running, where something
        stands in the way.
        """
        self._began = self._phase_began = time.monotonic()
        self.status = SessionStatus(EXPORTING, "Exporting: Blender waits for a moment")
        progress(0.0)
        try:
            self._folder = job_files.new_folder()
            self._queue = job_files.prepare(context, self._folder, progress)
            self._file = OpenFile(self._queue)
            self._link = BackendLink(addon_preferences(context), again=False)
            self._end_phase("export")
            self._begin_job()
        except Exception as error:
            self._fail(error if isinstance(error, PbrFitError) else own_fault(error))
            raise

    def resume(self, context: bpy.types.Context) -> None:
        """Go on after the backend was lost: start it again, send it what is there, and render what is missing.

        Raises PbrFitError where that cannot even begin; the session can still be resumed.
        """
        try:
            self._link = BackendLink(addon_preferences(context), again=True)
            self.status = replace(self.status, state=STARTING, error=None, can_resume=False)
            self._begin_job()
        except PbrFitError as error:
            self._fail(error, can_resume=True)
            raise

    def _begin_job(self) -> None:
        job = self._queue.current
        self.maps.begin(self._queue.number)
        self._submitted = False
        self._to_send = deque((index, None) for index in sorted(job.rendered))
        self._phase_began = time.monotonic()
        self.status = replace(self.status, job=self._queue.number, jobs=len(self._queue), curve=(), paused=False)
        if self._link.connected:
            self._show(RENDERING, "Rendering references", STARTED)
        else:
            self._show(STARTING, f"{self._link.message} and a second Blender", STARTED / 2)
        self._references = ReferenceWork(job)
        self._references.start()

    # Going on ---------------------------------------------------------------------------------------------------

    def poll(self) -> SessionStatus:
        """Move on what has finished, and say where the session is. Blocks only for a slice of the assignment."""
        if self.status.finished or self.status.state == IDLE:
            return self.status
        try:
            if self.status.state == APPLYING:
                self._apply()
            else:
                self._advance()
        except BackendLost as error:
            self._fail(error, can_resume=True)
        except PbrFitError as error:
            self._end_job(error)
        except Exception as error:
            self._fail(own_fault(error))
            raise
        return self.status

    def _advance(self) -> None:
        for event in self._link.poll():
            self._take_event(event)
            if self.status.state not in WORKING_STATES:
                return
        if self._link.connected:
            self.maps.tell(self._link.client)
        else:
            self._show(STARTING, f"{self._link.message} and a second Blender", STARTED / 2)
        if self.status.paused:
            return
        self._references.poll()
        self._to_send.extend(self._references.take())
        if self._link.connected and self.status.state != FITTING:
            self._send()

    def _take_event(self, event: events.Event) -> None:
        self.maps.take(event)
        if isinstance(event, events.Connected):
            self.device = str(event.info.get("device", ""))
            if self.status.state == STARTING:
                self._end_phase("start")
                self._show_rendering()
        elif isinstance(event, events.Progress):
            self._show_fit(event)
        elif isinstance(event, events.Result):
            result = self._queue.current.result
            result.files, result.metrics = dict(event.files), dict(event.metrics)
            self._end_phase("fit")
            self._next_job()
        elif isinstance(event, events.Failed):
            log = self._link.last_words() if event.code == "internal" else ""
            raise PbrFitError(event.cause + log, event.cure)
        elif isinstance(event, events.Cancelled):
            raise PbrFitError("The backend cancelled the fit.", "Start it again.")

    def _send(self) -> None:
        job, client = self._queue.current, self._link.client
        if "environment" in job.arrays:
            if not self._submitted:
                client.submit(job.settings, job.arrays, view_count=len(job.views))
                self._submitted = True
            until = time.monotonic() + SENDING_SECONDS
            while self._to_send and time.monotonic() < until:
                index, image = self._to_send.popleft()
                client.add_view(job.views[index].for_renderer(), job.view_image(index) if image is None else image)
            if job.fully_rendered and not self._to_send:
                client.end_views()
                self._end_phase("render")
                self._show(FITTING, "Fitting", STARTED + RENDERING_SHARE)
                return
        self._show_rendering()

    def _next_job(self) -> None:
        """Begin the next job, or where there is none assign what is fitted."""
        self._references.stop()
        while self._queue.advance():
            try:
                self._begin_job()
                return
            except PbrFitError as error:
                self._queue.current.error = error
        if self._queue.fitted:
            self._end_work()
            job_files.keep_views(self._folder)
            self._show(APPLYING, "Creating the material", ASSIGNING)
        else:
            self._fail(self._queue.failed[0].error)

    def _end_job(self, error: PbrFitError) -> None:
        """The current job has failed; the others may do better."""
        self._queue.current.error = error
        self._next_job()

    def _apply(self) -> None:
        obstacle = self._file.obstacle()
        if obstacle:
            self._show(APPLYING, obstacle, ASSIGNING)
            return
        if self._assigning is None:
            self._assigning = Assigning(self._queue.fitted)
        self._show(APPLYING, "Creating the material", ASSIGNING)
        if self._assigning.step():
            self._assigning = None
            self._finish()

    def _finish(self) -> None:
        assigned = [job.result for job in self._queue if job.result.material]
        if not assigned:
            self._fail(self._queue.failed[0].error)
            return
        self._end_phase("apply")
        for result in assigned:
            result.seconds["total"] = time.monotonic() - self._began
        iterations = assigned[-1].metrics.get("iterations", 0)
        self._show(DONE, self._queue.outcome(), 1.0, iterations, self._queue.lowest_psnr_db())

    # What it says -----------------------------------------------------------------------------------------------

    def _show_rendering(self) -> None:
        job = self._queue.current
        count, done = len(job.views), len(job.rendered)
        left = (time.monotonic() - self._phase_began) / done * (count - done) if done else None
        self._show(
            RENDERING,
            f"Rendering references {done}/{count}",
            STARTED + RENDERING_SHARE * done / count,
            seconds_left=left,
        )

    def _show_fit(self, event: events.Progress) -> None:
        if self.status.state != FITTING:
            return
        if event.psnr_db is not None:
            seconds = time.monotonic() - self._phase_began
            self.status = replace(self.status, curve=with_point(self.status.curve, seconds, event.psnr_db))
        fraction = fit_fraction(event.phase, event.fraction)
        psnr = self.status.psnr_db if event.psnr_db is None else event.psnr_db
        self._show(FITTING, event.message or event.phase, fraction, event.iteration, psnr, event.seconds_left)

    def _show(self, state: str, message: str, fraction: float, *numbers: float | None, **named: float | None) -> None:
        self.status = self.status.moved(state, message, fraction, *numbers, **named)

    def _end_phase(self, phase: str) -> None:
        now = time.monotonic()
        seconds = self.result.seconds
        seconds[phase] = seconds.get(phase, 0.0) + now - self._phase_began
        self._phase_began = now

    # The artist's wishes ----------------------------------------------------------------------------------------

    @property
    def can_pause(self) -> bool:
        """Whether there is work that can rest, or rests."""
        return self.status.state in (RENDERING, FITTING)

    def pause(self) -> None:
        """Let the work rest until `go_on`: the second Blender ends, the backend keeps what it has."""
        self._references.stop()
        if self._submitted:
            self._link.client.pause()
        self.status = replace(self.status, paused=True, seconds_left=None)

    def go_on(self) -> None:
        """End a pause; what is not rendered yet is rendered by a new second Blender."""
        if self._submitted:
            self._link.client.resume()
        self.status = replace(self.status, paused=False)
        try:
            self._references.start()
        except PbrFitError as error:
            self._end_job(error)

    @property
    def can_apply_now(self) -> bool:
        """Whether the fit has something to give."""
        return self.status.state == FITTING

    def apply_now(self) -> None:
        """Have the backend end the current job's fit with the maps it has."""
        self._link.client.finish()
        self.status = replace(self.status, paused=False, message="Taking the maps as they are")

    # What happens to the file -----------------------------------------------------------------------------------

    def file_will_change(self) -> None:
        """Before an undo, redo, load or save: take prepared datablocks out of the file; they are made again later."""
        if self._assigning is not None:
            self._assigning.drop()
            self._assigning = None

    def file_loaded(self) -> None:
        """Another file was loaded, or the same again. The fit goes on, unless the file can never be opened again."""
        if self._file is None or self.status.state == IDLE or (self.status.finished and not self.status.can_resume):
            return
        self._file.loaded()
        if self._file.lost:
            cause = "The file that the fit was started in was closed without ever having been saved."
            self._fail(PbrFitError(cause, "Save a file before you start a fit if you want to leave it meanwhile."))

    def file_saved(self) -> None:
        """The open file was saved, perhaps under another name."""
        if self._file is not None:
            self._file.saved()

    # Ending -----------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """End the session and its work everywhere; nothing of the file has changed. Finished sessions stay as they are.

        Waits until the renderer is killed and the backend told: milliseconds, at most about a second.
        """
        if not self.status.finished:
            self.status = replace(self.status, state=CANCELLED, message="Cancelled", paused=False)
            self._release()

    def close(self) -> None:
        """Cancel what runs and free what the session holds. The backend of this Blender stays, for the next fit."""
        self.cancel()
        self._release()

    def _fail(self, error: PbrFitError, can_resume: bool = False) -> None:
        """End everything; where the backend is gone, but keep what `resume` needs."""
        self.status = replace(
            self.status, state=FAILED, message=str(error), error=error, paused=False, can_resume=can_resume
        )
        (self._end_work if can_resume else self._release)()

    def _end_work(self) -> None:
        if self._references is not None:
            self._references.stop()
            self._references = None
        if self._link is not None:
            self._link.close()
            self._link = None

    def _release(self) -> None:
        self.file_will_change()
        self._end_work()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
