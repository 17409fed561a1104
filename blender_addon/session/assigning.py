# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the maps of all fits into the file: prepare them slice by slice, then change all slots at once, in one undo step."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import bpy

from ..assign.materials import Assignment, assignment_steps
from ..common.errors import PbrFitError
from .fit_queue import GroupFit

Steps = Generator[bool, None, Assignment]


class Assigning:
    """The assignment of some fits, `step` by `step`."""

    def __init__(self, fits: list[GroupFit]) -> None:
        self._fits = fits
        self._ready: list[tuple[GroupFit, Steps]] = []
        self._steps: Steps | None = None
        self._waiting = list(fits)

    def step(self) -> bool:
        """Do one slice, of about 100 ms at most; True once everything is assigned.

        Until then nothing that the artist has is changed. A fit that cannot be assigned gets an `error`; the others go on.
        """
        if not self._waiting:
            for fit, steps in self._ready:
                self._finish(fit, steps)
            push_undo("PBRfit: Optimize Materials")
            return True
        fit = self._waiting[0]
        if self._steps is None:
            result = fit.result
            record: dict[str, Any] = {
                "settings": fit.settings.to_dict(),
                "metrics": result.metrics,
                "views": len(result.views),
            }
            self._steps = assignment_steps(fit.plan, result.files, record, fit.options)
        try:
            if next(self._steps):
                self._ready.append((fit, self._steps))
                self._waiting.pop(0)
                self._steps = None
        except PbrFitError as error:
            fit.error = error
            self._waiting.pop(0)
            self._steps = None
        return False

    def drop(self) -> None:
        """Take back what is prepared, for example before an undo, a load or a save; `step` then starts over."""
        for _, steps in self._ready:
            steps.close()
        if self._steps is not None:
            self._steps.close()
        self._ready, self._steps = [], None
        self._waiting = [fit for fit in self._fits if fit.error is None]

    def _finish(self, fit: GroupFit, steps: Steps) -> None:
        try:
            while True:
                next(steps)
        except StopIteration as end:
            assignment: Assignment = end.value
            fit.result.material, fit.result.world = assignment.material, assignment.world
            fit.result.materials, fit.result.notes = assignment.materials, fit.notes + assignment.notes
            fit.result.original_materials = assignment.originals
            if not assignment.material:
                cause = " ".join(["Nothing was assigned.", *assignment.notes])
                fit.error = PbrFitError(cause, "Fit it again, with more views where they saw too little.")
        except PbrFitError as error:
            fit.error = error


def push_undo(message: str) -> None:
    """Make one undo step of what was just changed. Only a Blender with a window has undo."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=windows[0]):
        bpy.ops.ed.undo_push(message=message)
