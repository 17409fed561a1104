# SPDX-License-Identifier: GPL-3.0-or-later
"""The bakes of one click: a second Blender bakes all groups, one after the other. No backend takes part."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy

from ..baking.process import BakeProgress, MapBaker
from ..common.errors import PbrFitError
from . import prepare
from .bake_queue import GroupBake
from .base_session import WorkSession
from .group_queue import GroupQueue
from .session_status import ASSIGNING, BAKING, STARTED

EXPORTED = STARTED / 2  # of the progress bar
FEWEST_SECONDS = 1.0  # of progress, before the time left is told


class BakeSession(WorkSession[GroupBake]):
    """The bakes of one click."""

    noun, button = "bake", "Bake Maps"

    def __init__(self) -> None:
        super().__init__(GroupQueue([]))
        self._open_baker: MapBaker | None = None
        self._first_progress = (0.0, 0.0)

    @property
    def bakes(self) -> list[GroupBake]:
        """What each group was asked for, and has made."""
        return list(self._queue)

    def _prepare(
        self, context: bpy.types.Context, folder: Path, progress: Callable[[float], None]
    ) -> GroupQueue[GroupBake]:
        return prepare.prepare_bakes(context, folder, progress)

    def _begin(self, context: bpy.types.Context) -> None:
        self._end_phase("export")
        self._start_baker()

    def _start_baker(self) -> None:
        """Start a second Blender on the current group and those after it."""
        assert self._folder is not None  # while the session works
        first, *others = [bake.bake_plan for bake in self._queue if bake.maps is None and bake.error is None]
        self._first_progress = (0.0, 0.0)
        self._show_group(EXPORTED, "Starting a second Blender")
        self._open_baker = MapBaker(first | {"plans": others}, self._folder)

    def _advance(self) -> None:
        assert self._open_baker is not None  # while the session works
        for event in self._open_baker.poll():
            if isinstance(event, BakeProgress):
                self._show_progress(event)
                continue
            self._queue.current.take(event.maps)
            self._end_phase("bake")
            if not self._queue.advance():
                self._assign()
                return

    def _take_error(self, error: PbrFitError) -> None:
        """The second Blender has ended, whatever the error is; another one bakes the groups after the current one."""
        self._queue.current.error = error
        while self._queue.advance():
            self._end_work()
            try:
                self._start_baker()
                return
            except PbrFitError as failure:
                self._queue.current.error = failure
        self._assign()

    def _show_progress(self, event: BakeProgress) -> None:
        began, fraction_then = self._first_progress
        now = time.monotonic()
        seconds_left = None
        if fraction_then == 0.0 or event.fraction < fraction_then:  # the first one of a group that is not its start
            self._first_progress = (now, event.fraction)
        elif now - began >= FEWEST_SECONDS and event.fraction > fraction_then:
            seconds_left = (now - began) * (1.0 - event.fraction) / (event.fraction - fraction_then)
        self._show_group(STARTED + (ASSIGNING - STARTED) * event.fraction, event.message, seconds_left)

    def _show_group(self, fraction: float, message: str, seconds_left: float | None = None) -> None:
        self.status = replace(self.status, fit=self._queue.number, fits=len(self._queue))
        self._show(BAKING, message, fraction, seconds_left=seconds_left)

    def _end_work(self) -> None:
        if self._open_baker is not None:
            self._open_baker.stop()
            self._open_baker = None
