# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of all jobs into the file: prepared a slice at a time, then put into the slots at once, as one undo step."""

from __future__ import annotations

from collections.abc import Generator

import bpy

from ..assign.materials import Assignment, assignment_steps
from ..common.errors import PbrFitError
from .fit_queue import FitJob

Steps = Generator[bool, None, Assignment]


class Assigning:
    """The assignment of some jobs, `step` by `step`."""

    def __init__(self, jobs: list[FitJob]) -> None:
        self._jobs = jobs
        self._ready: list[tuple[FitJob, Steps]] = []
        self._steps: Steps | None = None
        self._waiting = list(jobs)

    def step(self) -> bool:
        """Do one slice of about 100 ms at most; True once everything is assigned.

        Until then nothing that the artist has is changed. A job that cannot be assigned gets an `error`, and the others
        go on.
        """
        if not self._waiting:
            for job, steps in self._ready:
                self._finish(job, steps)
            push_undo("PBRfit: Optimize Materials")
            return True
        job = self._waiting[0]
        if self._steps is None:
            result = job.result
            record = {"settings": job.settings.to_dict(), "metrics": result.metrics, "views": len(result.views)}
            self._steps = assignment_steps(job.plan, result.files, record, job.options)
        try:
            if next(self._steps):
                self._ready.append((job, self._steps))
                self._waiting.pop(0)
                self._steps = None
        except PbrFitError as error:
            job.error = error
            self._waiting.pop(0)
            self._steps = None
        return False

    def drop(self) -> None:
        """Take back what is prepared, as before an undo, a load or a save; `step` then begins again."""
        for _, steps in self._ready:
            steps.close()
        if self._steps is not None:
            self._steps.close()
        self._ready, self._steps = [], None
        self._waiting = [job for job in self._jobs if job.error is None]

    def _finish(self, job: FitJob, steps: Steps) -> None:
        try:
            while True:
                next(steps)
        except StopIteration as end:
            assignment: Assignment = end.value
            job.result.material, job.result.world = assignment.material, assignment.world
            job.result.materials, job.result.notes = assignment.materials, assignment.notes
            job.result.original_materials = assignment.originals
            if not assignment.material:
                cause = " ".join(["Nothing was assigned.", *assignment.notes])
                job.error = PbrFitError(cause, "Fit it again, with more views where they saw too little.")
        except PbrFitError as error:
            job.error = error


def push_undo(message: str) -> None:
    """Make what was just changed one step of undo, where there is undo: in a Blender with a window."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=windows[0]):
        bpy.ops.ed.undo_push(message=message)
