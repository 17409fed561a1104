# SPDX-License-Identifier: GPL-3.0-or-later
"""The fits of one click: a bake and references by a second Blender, the fit by the backend, and which of both is better.

A group of which the bake is all that is needed gets no references. The session keeps what a killed process has done, so that
`resume` goes on from there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..protocol.client import events
from ..settings import devices
from ..settings.preferences import addon_preferences
from . import prepare
from .backend_link import BackendLink, BackendLost
from .baked_start import StartWork
from .base_session import SECONDS_BETWEEN_SLICES, WorkSession
from .comparison_work import ComparisonWork
from .coverage import UnseenSet, unseen_sets
from .fit_queue import FitQueue, GroupFit, RenderedReference
from .group_queue import GroupQueue
from .recovery import Recovery
from .reference_work import ReferenceWork
from .session_maps import LiveSet
from .session_status import (
    APPLYING,
    ASSIGNING,
    BAKED,
    BAKING,
    COMPARING,
    COMPARING_FROM,
    FITTING,
    FITTING_FROM,
    RENDERING,
    RENDERING_FROM,
    STARTED,
    STARTING,
    WORKING_STATES,
)

SENDING_SECONDS = 0.02  # in one poll, for views that are read from their files again


class OptimizeSession(WorkSession[GroupFit]):
    """The fits of one click."""

    noun, button = "fit", "Optimize Materials"

    def __init__(self) -> None:
        super().__init__(FitQueue([]))
        self._open_link: BackendLink | None = None
        self._open_references: ReferenceWork | None = None
        self._start_work: StartWork | None = None
        self._comparison: ComparisonWork | None = None
        self._submitted = False
        self._recovery = Recovery()
        self._to_send: deque[tuple[int, NDArray[np.float32] | None]] = deque()

    @property
    def live_sets(self) -> dict[tuple[int, int], list[LiveSet]]:
        """The sets of maps that are not assigned yet, by object (session_uid) and slot of the open file."""
        working = self.status.state in WORKING_STATES or self.status.state == APPLYING
        return self.maps.of_slots(self._queue) if working and self._file.is_open else {}

    @property
    def unseen_sets(self) -> dict[tuple[int, int], list[UnseenSet]]:
        """What no view of the running fits saw, as far as they have come, by object (session_uid) and slot of the open file."""
        found: dict[tuple[int, int], list[UnseenSet]] = {}
        if self.status.state in WORKING_STATES and self._file.is_open:
            for fit in self._queue:
                found |= unseen_sets(fit.plan, fit.candidates.coverage)
        return found

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
        return SECONDS_BETWEEN_SLICES if self._to_send else super().seconds_between_polls

    # Starting ---------------------------------------------------------------------------------------------------

    def _prepare(
        self, context: bpy.types.Context, folder: Path, progress: Callable[[float], None]
    ) -> GroupQueue[GroupFit]:
        return prepare.prepare_fits(context, folder, progress)

    def _begin(self, context: bpy.types.Context) -> None:
        if not all(fit.exact for fit in self._queue):
            self._open_link = BackendLink(addon_preferences(context), again=False)
        self._end_phase("export")
        self._begin_fit()

    def resume(self, context: bpy.types.Context) -> None:
        """Go on after the backend was lost: attach to its job, or send it what is there, and render what is missing.

        Raises PbrFitError if that cannot begin; the session can still be resumed.
        """
        self._expected.disturb()
        try:
            self._open_link = BackendLink(addon_preferences(context), again=True, job=self._recovery.job)
            self.status = replace(self.status, state=STARTING, error=None, can_resume=False)
            self._begin_fit()
        except PbrFitError as error:
            self._fail(error, can_resume=True)
            raise

    def _begin_fit(self) -> None:
        fit = self._queue.current
        self.maps.begin(self._queue.number)
        self._phase_began = time.monotonic()
        self.status = replace(
            self.status,
            fit=self._queue.number,
            fits=len(self._queue),
            round=fit.round,
            rounds=fit.rounds,
            curve=(),
            paused=False,
        )
        if fit.bake_plan is not None and fit.candidates.baked is None:
            self._start_work = StartWork(fit)
            self._show(BAKING, self._start_work.message, STARTED)
        else:
            self._begin_references()

    def _begin_references(self) -> None:
        fit = self._queue.current
        self._submitted = bool(self._link.job)
        self._to_send = deque(() if self._submitted else ((index, None) for index in sorted(fit.ready)))
        if self._link.connected:
            self._show_rendering()
        else:
            self._show(STARTING, f"{self._link.message} and a second Blender", RENDERING_FROM)
        self._open_references = ReferenceWork(fit)
        self._references.start()

    # Going on ---------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._go_on_with_work()
        self.status = self._recovery.shown(self.status, self._open_link)

    def _go_on_with_work(self) -> None:
        if self._comparison is not None:
            self._compare(self._comparison)
            return
        if self._open_link is not None:
            for event in self._link.poll():
                self._take_event(event)
                if self.status.state not in WORKING_STATES or self._comparison is not None:
                    return
        if self._start_work is not None:
            self._bake(self._start_work)
            return
        if self._link.connected:
            self.maps.tell(self._link.client)
        else:
            self._show(STARTING, f"{self._link.message} and a second Blender", RENDERING_FROM)
        if self.status.paused:
            return
        self._references.poll()
        self._to_send.extend(self._references.take())
        if self._link.connected and self.status.state != FITTING:
            self._send()

    def _bake(self, work: StartWork) -> None:
        """Go on with the bake that the current fit begins with."""
        work.poll()
        share = (ASSIGNING if self._queue.current.exact else BAKED) - STARTED
        self._show(BAKING, work.message, STARTED + share * work.fraction)
        if not work.done:
            return
        self._end_start()
        self._end_phase("bake")
        fit = self._queue.current
        if fit.exact and fit.candidates.baked is not None:
            fit.notes += (fit.exact,)
            fit.plan_views()
            self._take_candidates()
            return
        if self._open_link is None:  # the bake was to be all, and failed
            self._open_link = BackendLink(addon_preferences(bpy.context), again=False)
        if fit.compares_views:
            self._comparison = ComparisonWork(fit)
        else:
            self._begin_references()

    def _compare(self, work: ComparisonWork) -> None:
        """Go on with the comparison of the current bake with the material, or with the fit."""
        fit = self._queue.current
        has_fit = bool(fit.candidates.fits)
        work.poll()
        if has_fit:
            share = (ASSIGNING - COMPARING_FROM) * work.fraction if fit.round == fit.rounds else 0.0
            self._show(COMPARING, "Comparing with the material", self.status.in_round(COMPARING_FROM) + share)
        else:
            share = (RENDERING_FROM - BAKED) * work.fraction
            what = "maps" if fit.begins_with_maps else "bake"
            self._show(COMPARING, f"Comparing the {what} with the material", BAKED + share)
        if not work.done:
            return
        self._end_comparison()
        self._end_phase("compare")
        if has_fit:
            self._after_fit(near=work.near, failed=work.failed)
        elif work.near:
            fit.near_enough = True
            fit.plan_views()
            self._take_candidates()
        else:
            self._begin_references()

    def _after_fit(self, near: bool, failed: bool) -> None:
        """The current group's fit, or a round after it, is compared: correct it by another round, or take what is best."""
        fit = self._queue.current
        if near or failed or not fit.has_gained or not fit.begin_round():
            self._take_candidates()
            return
        self._phase_began = time.monotonic()
        self.status = replace(self.status, round=fit.round, curve=())
        self._begin_references()

    def _take_candidates(self) -> None:
        """The current group has all its maps: keep the better ones, and go on with the next group."""
        fit = self._queue.current
        fit.name_what_is_unseen()
        fit.result.files, fit.result.compared = fit.candidates.files, fit.candidates.choices
        self._next_fit()

    def _take_event(self, event: events.Event) -> None:
        self.maps.take(event)
        if isinstance(event, events.Connected):
            self.device = str(event.info.get("device", ""))
            devices.note(self.device, str(event.info.get("device_name", "")))
            if self.status.state == STARTING:
                self._end_phase("start")
                self._show_rendering()
            if self._link.job:  # it has all views
                self._link.job = ""
                self._show(FITTING, "Fitting", self.status.in_round(FITTING_FROM))
        elif isinstance(event, events.Progress):
            self._show_fit(event)
        elif isinstance(event, events.Result):
            self._take_fit(event)
        elif isinstance(event, events.Failed):
            log = self._link.last_words() if event.code == "internal" else ""
            raise PbrFitError(event.cause + log, event.cure)
        elif isinstance(event, events.Cancelled):
            raise PbrFitError("The backend cancelled the fit.", "Start it again.")

    def _take_fit(self, event: events.Result) -> None:
        """The fit of the current group, or a round after it, has ended."""
        fit = self._queue.current
        fit.take_fit(dict(event.files), dict(event.metrics))
        self._end_phase("correct" if fit.round else "fit")
        self._recovery.has_gone_on()
        self._references.stop()
        if fit.round < fit.rounds or len(fit.candidates.looks) > 1:
            self._comparison = ComparisonWork(fit)
        else:
            self._take_candidates()

    def _send(self) -> None:
        fit, client = self._queue.current, self._link.client
        if "environment" in fit.arrays and fit.has_mesh and fit.has_start:
            if not self._submitted:
                client.submit(fit.settings, fit.arrays, view_count=fit.view_count)
                self._submitted = True
            until = time.monotonic() + SENDING_SECONDS
            while self._to_send and time.monotonic() < until:
                index, image = self._to_send.popleft()
                if image is None or fit.compares_views:
                    image = fit.view_image(index)
                client.add_view(fit.views[index].for_renderer(), image)
            if fit.fully_rendered and not self._to_send:
                client.end_views()
                self._end_phase("check" if fit.round else "render")
                self._show(FITTING, "Fitting", self.status.in_round(FITTING_FROM))
                return
        self._show_rendering()

    def _next_fit(self) -> None:
        """Begin the next fit; if there is none, assign what is fitted."""
        if self._open_references is not None:
            self._references.stop()
        while self._queue.advance():
            try:
                self._begin_fit()
                return
            except PbrFitError as error:
                self._queue.current.error = error
        self._assign()

    def _take_error(self, error: PbrFitError) -> None:
        if isinstance(error, BackendLost):
            self._recovery.take(error, self.status, self.maps.job)
            self._fail(error, can_resume=True)
            self._recovery.begin_again(lambda: self.resume(bpy.context))
        else:
            self._end_fit(error)

    def _end_fit(self, error: PbrFitError) -> None:
        """The current fit has failed; go on with the next one."""
        self._queue.current.error = error
        self._next_fit()

    # Its status -------------------------------------------------------------------------------------------------

    def _show_rendering(self) -> None:
        fit, seconds = self._queue.current, time.monotonic() - self._phase_began
        self.status = self.status.rendering(*fit.renders, seconds, fit.result.render_device)

    def _show_fit(self, event: events.Progress) -> None:
        if self.status.state == FITTING:
            self.status = self.status.fitting(event, time.monotonic() - self._phase_began)

    # What the artist asks for -----------------------------------------------------------------------------------

    @property
    def can_pause(self) -> bool:
        """Whether there is work to pause, or paused work to go on with."""
        return self.status.state in (RENDERING, FITTING)

    def pause(self) -> None:
        """Pause until `go_on`: the second Blender ends, the backend keeps what it has."""
        self._expected.disturb()
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
        """Make the backend end the current fit with the maps it has; no round of correction follows."""
        self._expected.disturb()
        self._link.client.finish()
        self._queue.current.rounds = self._queue.current.round
        self.status = replace(self.status, paused=False, message="Taking the maps as they are")

    # Ending -----------------------------------------------------------------------------------------------------

    def _end_start(self) -> None:
        if self._start_work is not None:
            self._start_work.stop()
            self._start_work = None

    def _end_comparison(self) -> None:
        if self._comparison is not None:
            self._comparison.stop()
            self._comparison = None

    def _end_work(self) -> None:
        self._end_start()
        self._end_comparison()
        if self._open_references is not None:
            self._open_references.stop()
            self._open_references = None
        if self._open_link is not None:
            self._open_link.close()
            self._open_link = None
