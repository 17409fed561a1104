# SPDX-License-Identifier: GPL-3.0-or-later
"""The fits of one click, from the export to the assigned materials, as a state machine that never makes Blender wait.

`start` does what needs the main thread and the open file: preflight, export, saving a copy. After it, call `poll` again
and again, from a timer in a window or a loop without one; it only takes in what has finished. The session keeps what a
killed process has done, so that `resume` goes on from there.
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
from numpy.typing import NDArray

from ..common.errors import PbrFitError, own_fault
from ..export.plan import GroupPlan
from ..protocol.client import events
from ..settings.preferences import addon_preferences
from . import prepare
from .assigning import Assigning
from .backend_link import BackendLink, BackendLost
from .fit_queue import FitQueue, RenderedReference
from .open_file import OpenFile
from .reference_work import ReferenceWork
from .session_maps import LiveMaps, LiveSet
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
)

SECONDS_BETWEEN_POLLS = 0.1
SECONDS_BETWEEN_SLICES = 0.02
SENDING_SECONDS = 0.02  # in one poll, for views that are read from their files again


class OptimizeSession:
    """The fits of one click. Use it once; call everything from Blender's main thread.

    maps: the live maps of its fits. device: the backend's, empty while it is not known.
    """

    def __init__(self) -> None:
        self.status = SessionStatus()
        self.maps = LiveMaps()
        self._queue = FitQueue([])
        self._folder: Path | None = None
        self._open_link: BackendLink | None = None
        self._open_references: ReferenceWork | None = None
        self._file = OpenFile(self._queue)
        self.device = ""
        self._assigning: Assigning | None = None
        self._submitted = False
        self._to_send: deque[tuple[int, NDArray[np.float32] | None]] = deque()

    @property
    def plans(self) -> list[GroupPlan]:
        """What is fitted, one plan for each fit."""
        return [fit.plan for fit in self._queue]

    @property
    def results(self) -> list[SessionResult]:
        """What the fits leave, as far as they have come."""
        return [fit.result for fit in self._queue]

    @property
    def result(self) -> SessionResult | None:
        """What the current or last fit leaves; None before the export."""
        return self._queue.current.result if len(self._queue) else None

    @property
    def live_sets(self) -> dict[tuple[int, int], list[LiveSet]]:
        """The sets of maps that are not assigned yet, by object (session_uid) and slot of the open file."""
        working = self.status.state in WORKING_STATES or self.status.state == APPLYING
        return self.maps.of_slots(self._queue.fits) if working and self._file.is_open else {}

    def references(self) -> list[RenderedReference]:
        """The references rendered so far, of all fits; they stay until the session is closed or fails."""
        if self._folder is None or not self._file.is_open:
            return []
        return [reference for fit in self._queue for reference in fit.references()]

    @property
    def _link(self) -> BackendLink:
        assert self._open_link is not None  # while the session works
        return self._open_link

    @property
    def _references(self) -> ReferenceWork:
        assert self._open_references is not None  # while the session works
        return self._open_references

    @property
    def seconds_between_polls(self) -> float:
        """How soon `poll` wants to be called again."""
        busy = self._assigning is not None or bool(self._to_send)
        return SECONDS_BETWEEN_SLICES if busy else SECONDS_BETWEEN_POLLS

    # Starting ---------------------------------------------------------------------------------------------------

    def start(self, context: bpy.types.Context, progress: Callable[[float], None] = lambda _fraction: None) -> None:
        """Check, export and start everything; afterwards the artist's scene is as before.

        progress: called with 0..1 while it exports. Raises PbrFitError if it cannot start; then nothing is left running.
        """
        self._began = self._phase_began = time.monotonic()
        self.status = SessionStatus(EXPORTING, "Exporting: Blender waits for a moment")
        progress(0.0)
        try:
            self._folder = prepare.new_folder()
            self._queue = prepare.prepare_fits(context, self._folder, progress)
            self._file = OpenFile(self._queue)
            self._open_link = BackendLink(addon_preferences(context), again=False)
            self._end_phase("export")
            self._begin_fit()
        except Exception as error:
            self._fail(error if isinstance(error, PbrFitError) else own_fault(error))
            raise

    def resume(self, context: bpy.types.Context) -> None:
        """Go on after the backend was lost: start it again, send it what is there, and render what is missing.

        Raises PbrFitError if that cannot begin; the session can still be resumed.
        """
        try:
            self._open_link = BackendLink(addon_preferences(context), again=True)
            self.status = replace(self.status, state=STARTING, error=None, can_resume=False)
            self._begin_fit()
        except PbrFitError as error:
            self._fail(error, can_resume=True)
            raise

    def _begin_fit(self) -> None:
        fit = self._queue.current
        self.maps.begin(self._queue.number)
        self._submitted = False
        self._to_send = deque((index, None) for index in sorted(fit.rendered))
        self._phase_began = time.monotonic()
        self.status = replace(self.status, fit=self._queue.number, fits=len(self._queue), curve=(), paused=False)
        if self._link.connected:
            self._show(RENDERING, "Rendering references", STARTED)
        else:
            self._show(STARTING, f"{self._link.message} and a second Blender", STARTED / 2)
        self._open_references = ReferenceWork(fit)
        self._references.start()

    # Going on ---------------------------------------------------------------------------------------------------

    def poll(self) -> SessionStatus:
        """Take in what has finished, and return the status. Blocks only for a slice of the assignment."""
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
            self._end_fit(error)
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
            self._next_fit()
        elif isinstance(event, events.Failed):
            log = self._link.last_words() if event.code == "internal" else ""
            raise PbrFitError(event.cause + log, event.cure)
        elif isinstance(event, events.Cancelled):
            raise PbrFitError("The backend cancelled the fit.", "Start it again.")

    def _send(self) -> None:
        fit, client = self._queue.current, self._link.client
        if "environment" in fit.arrays and fit.has_mesh:
            if not self._submitted:
                client.submit(fit.settings, fit.arrays, view_count=fit.view_count)
                self._submitted = True
            until = time.monotonic() + SENDING_SECONDS
            while self._to_send and time.monotonic() < until:
                index, image = self._to_send.popleft()
                client.add_view(fit.views[index].for_renderer(), fit.view_image(index) if image is None else image)
            if fit.fully_rendered and not self._to_send:
                client.end_views()
                self._end_phase("render")
                self._show(FITTING, "Fitting", STARTED + RENDERING_SHARE)
                return
        self._show_rendering()

    def _next_fit(self) -> None:
        """Begin the next fit; if there is none, assign what is fitted."""
        self._references.stop()
        while self._queue.advance():
            try:
                self._begin_fit()
                return
            except PbrFitError as error:
                self._queue.current.error = error
        if self._queue.fitted:
            self._end_work()
            if self._folder is not None:
                prepare.remove_copy(self._folder)
            self._show(APPLYING, "Creating the material", ASSIGNING)
        else:
            self._fail(self._queue.first_error())

    def _end_fit(self, error: PbrFitError) -> None:
        """The current fit has failed; go on with the next one."""
        self._queue.current.error = error
        self._next_fit()

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
        assigned = [fit.result for fit in self._queue if fit.result.material]
        if not assigned:
            self._fail(self._queue.first_error())
            return
        self._end_phase("apply")
        for result in assigned:
            result.seconds["total"] = time.monotonic() - self._began
        iterations = assigned[-1].metrics.get("iterations", 0)
        self._show(DONE, self._queue.outcome(), 1.0, iterations, self._queue.lowest_psnr_db())

    # Its status -------------------------------------------------------------------------------------------------

    def _show_rendering(self) -> None:
        fit = self._queue.current
        seconds = time.monotonic() - self._phase_began
        self.status = self.status.rendering(len(fit.rendered), fit.view_count, seconds)

    def _show_fit(self, event: events.Progress) -> None:
        if self.status.state == FITTING:
            self.status = self.status.fitting(event, time.monotonic() - self._phase_began)

    def _show(
        self, state: str, message: str, fraction: float, iteration: int = 0, psnr_db: float | None = None
    ) -> None:
        self.status = self.status.moved(state, message, fraction, iteration, psnr_db)

    def _end_phase(self, phase: str) -> None:
        now = time.monotonic()
        seconds = self._queue.current.result.seconds
        seconds[phase] = seconds.get(phase, 0.0) + now - self._phase_began
        self._phase_began = now

    # What the artist asks for -----------------------------------------------------------------------------------

    @property
    def can_pause(self) -> bool:
        """Whether there is work to pause, or paused work to go on with."""
        return self.status.state in (RENDERING, FITTING)

    def pause(self) -> None:
        """Pause until `go_on`: the second Blender ends, the backend keeps what it has."""
        self._references.stop()
        if self._submitted:
            self._link.client.pause()
        self.status = replace(self.status, paused=True, seconds_left=None)

    def go_on(self) -> None:
        """End a pause; a new second Blender renders what is missing."""
        if self._submitted:
            self._link.client.resume()
        self.status = replace(self.status, paused=False)
        try:
            self._references.start()
        except PbrFitError as error:
            self._end_fit(error)

    @property
    def can_apply_now(self) -> bool:
        """Whether the fit has maps to give."""
        return self.status.state == FITTING

    def apply_now(self) -> None:
        """Make the backend end the current fit with the maps it has."""
        self._link.client.finish()
        self.status = replace(self.status, paused=False, message="Taking the maps as they are")

    # What happens to the file -----------------------------------------------------------------------------------

    def file_will_change(self) -> None:
        """Before an undo, redo, load or save: take prepared datablocks out of the file; `poll` makes them again later."""
        if self._assigning is not None:
            self._assigning.drop()
            self._assigning = None

    def file_loaded(self) -> None:
        """Another file was loaded, or this one again. The fit goes on, except if its file can never be opened again."""
        if self.status.state == IDLE or (self.status.finished and not self.status.can_resume):
            return
        self._file.loaded()
        if self._file.lost:
            cause = "The file that the fit was started in was closed without being saved."
            self._fail(PbrFitError(cause, "Save a file before you start a fit if you want to leave it meanwhile."))

    def file_saved(self) -> None:
        """The open file was saved, perhaps under another name."""
        self._file.saved()

    # Ending -----------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """End the session and all its work; the file has not changed. A finished session stays as it is.

        Waits until the renderer is killed and the backend is told: milliseconds, at most about a second.
        """
        if not self.status.finished:
            self.status = replace(self.status, state=CANCELLED, message="Cancelled", paused=False)
            self._release()

    def close(self) -> None:
        """Cancel what runs and free what the session holds. This Blender's backend stays for the next fit."""
        self.cancel()
        self._release()

    def _fail(self, error: PbrFitError, can_resume: bool = False) -> None:
        """End everything; with can_resume, keep what `resume` needs."""
        self.status = replace(
            self.status, state=FAILED, message=str(error), error=error, paused=False, can_resume=can_resume
        )
        (self._end_work if can_resume else self._release)()

    def _end_work(self) -> None:
        if self._open_references is not None:
            self._open_references.stop()
            self._open_references = None
        if self._open_link is not None:
            self._open_link.close()
            self._open_link = None

    def _release(self) -> None:
        self.file_will_change()
        self._end_work()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
