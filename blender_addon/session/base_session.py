# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fit and a bake have in common: a state machine from the click to the assigned materials that never makes Blender
wait.

`start` does what needs the main thread and the open file. After it, call `poll` again and again, from a timer in a window
or a loop without one; it only takes in what has finished. Nothing of the artist's changes before the assignment.
"""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic

import bpy

from ..common.errors import PbrFitError, own_fault
from ..export.plan import GroupPlan
from . import prepare
from .assigning import Assigning
from .coverage import UnseenSet
from .expected import Expected
from .fit_queue import RenderedReference
from .group_queue import GroupQueue, Work
from .open_file import OpenFile
from .session_maps import LiveMaps, LiveSet
from .session_status import (
    APPLYING,
    ASSIGNING,
    CANCELLED,
    DONE,
    EXPORTING,
    FAILED,
    IDLE,
    SessionResult,
    SessionStatus,
)

SECONDS_BETWEEN_POLLS = 0.1
SECONDS_BETWEEN_SLICES = 0.02


class WorkSession(ABC, Generic[Work]):
    """The work of one click. Use it once; call everything from Blender's main thread.

    maps: the live maps of its groups. device: the backend's, empty while it is not known. noun: the work, as an artist
    calls it; button: the label of the button that starts it; waits_for: what only the artist can do before the maps are
    assigned, as a sentence, or empty.
    """

    noun = ""
    button = ""

    def __init__(self, queue: GroupQueue[Work]) -> None:
        """queue: an empty one, until `start` makes another."""
        self.status = SessionStatus()
        self.maps = LiveMaps()
        self.device = ""
        self.waits_for = ""
        self._queue = queue
        self._folder: Path | None = None
        self._file = OpenFile(self._queue)
        self._assigning: Assigning | None = None
        self._began = self._phase_began = 0.0
        self._expected = Expected()

    @property
    def plans(self) -> list[GroupPlan]:
        """What is worked on, one plan for each group."""
        return [group.plan for group in self._queue]

    @property
    def results(self) -> list[SessionResult]:
        """What the groups leave, as far as they have come."""
        return [group.result for group in self._queue]

    @property
    def result(self) -> SessionResult | None:
        """What the current or last group leaves; None before the export."""
        return self._queue.current.result if len(self._queue) else None

    @property
    def live_sets(self) -> dict[tuple[int, int], list[LiveSet]]:
        """The sets of maps that are shown before they are assigned, by object (session_uid) and slot of the open file."""
        return {}

    @property
    def unseen_sets(self) -> dict[tuple[int, int], list[UnseenSet]]:
        """What no view of the running fits saw, by object (session_uid) and slot of the open file."""
        return {}

    @property
    def seconds(self) -> float:
        """How long ago the click was."""
        return time.monotonic() - self._began

    @property
    def failures(self) -> list[str]:
        """What failed while other groups were assigned, one line each."""
        return self._queue.failures()

    def references(self) -> list[RenderedReference]:
        """The references rendered so far."""
        return []

    @property
    def seconds_between_polls(self) -> float:
        """How soon `poll` wants to be called again."""
        return SECONDS_BETWEEN_SLICES if self._assigning is not None else SECONDS_BETWEEN_POLLS

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
            self._queue = self._prepare(context, self._folder, progress)
            self._file = OpenFile(self._queue)
            self._expected.begin(self._queue)
            self._begin(context)
        except Exception as error:
            self._fail(error if isinstance(error, PbrFitError) else own_fault(error))
            raise

    @abstractmethod
    def _prepare(self, context: bpy.types.Context, folder: Path, progress: Callable[[float], None]) -> GroupQueue[Work]:
        """Check the selection and make the queue. Raises PbrFitError."""

    @abstractmethod
    def _begin(self, context: bpy.types.Context) -> None:
        """Start the work on the first group. Raises PbrFitError."""

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
        except PbrFitError as error:
            self._take_error(error)
        except Exception as error:
            self._fail(own_fault(error))
            raise
        left = self._expected.seconds_left(self.status, time.monotonic() - self._phase_began)
        self.status = replace(self.status, time_left=left)
        return self.status

    @abstractmethod
    def _advance(self) -> None:
        """Take in what has finished of the current group. Raises PbrFitError if that fails."""

    @abstractmethod
    def _take_error(self, error: PbrFitError) -> None:
        """The current group has failed; go on with the next one."""

    def _assign(self) -> None:
        """All groups are done: assign what has maps."""
        if not self._queue.ready:
            self._fail(self._queue.first_error())
            return
        self._end_work()
        if self._folder is not None:
            prepare.remove_copy(self._folder)
        self._show(APPLYING, "Creating the material", ASSIGNING)

    def _apply(self) -> None:
        obstacle = self.waits_for = self._file.obstacle()
        if obstacle:
            self._show(APPLYING, obstacle, ASSIGNING)
            return
        if self._assigning is None:
            self._assigning = Assigning(self._queue.ready, self.button)
        self._show(APPLYING, "Creating the material", ASSIGNING)
        if self._assigning.step():
            self._assigning = None
            self._finish()

    def _finish(self) -> None:
        assigned = [result for result in self.results if result.material]
        if not assigned:
            self._fail(self._queue.first_error())
            return
        self._end_phase("apply")
        self._expected.remember(self.device)
        for result in assigned:
            result.seconds["total"] = time.monotonic() - self._began
        iterations = assigned[-1].metrics.get("iterations", 0)
        self._show(DONE, self._queue.outcome(), 1.0, iterations, self._queue.lowest_psnr_db())

    # Its status -------------------------------------------------------------------------------------------------

    def _show(
        self,
        state: str,
        message: str,
        fraction: float,
        iteration: int = 0,
        psnr_db: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        self.status = self.status.moved(state, message, fraction, iteration, psnr_db, seconds_left)

    def _end_phase(self, phase: str) -> None:
        now = time.monotonic()
        seconds = self._queue.current.result.seconds
        seconds[phase] = seconds.get(phase, 0.0) + now - self._phase_began
        self._phase_began = now

    # What happens to the file -----------------------------------------------------------------------------------

    def file_will_change(self) -> None:
        """Before an undo, redo, load or save: take prepared datablocks out of the file; `poll` makes them again later."""
        if self._assigning is not None:
            self._assigning.drop()
            self._assigning = None

    def file_loaded(self) -> None:
        """Another file was loaded, or this one again. The work goes on, except if its file can never be opened again."""
        if self.status.state == IDLE or (self.status.finished and not self.status.can_resume):
            return
        self._file.loaded()
        if self._file.lost:
            cause = f"The file that the {self.noun} was started in was closed without being saved."
            cure = f"Save a file before you start a {self.noun} if you want to leave it meanwhile."
            self._fail(PbrFitError(cause, cure))

    def file_saved(self) -> None:
        """The open file was saved, perhaps under another name."""
        self._file.saved()

    # Ending -----------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """End the session and all its work; the file has not changed. A finished session stays as it is.

        Waits until what runs is killed: milliseconds, at most about a second.
        """
        if not self.status.finished:
            self.status = replace(self.status, state=CANCELLED, message="Cancelled", paused=False)
            self._release()

    def close(self) -> None:
        """Cancel what runs and free what the session holds. This Blender's backend stays for the next fit."""
        self.cancel()
        self._release()

    def _fail(self, error: PbrFitError, can_resume: bool = False) -> None:
        """End everything; with can_resume, keep what is done, so that the session can go on later."""
        self.status = replace(
            self.status, state=FAILED, message=str(error), error=error, paused=False, can_resume=can_resume
        )
        (self._end_work if can_resume else self._release)()

    @abstractmethod
    def _end_work(self) -> None:
        """End the processes that work for this session."""

    def _release(self) -> None:
        self.file_will_change()
        self._end_work()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
