# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the maps of all groups into the file: prepare them slice by slice, then change all slots at once, in one undo step."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import bpy

from ..assign.materials import Assignment, assignment_steps
from ..common.errors import PbrFitError
from .group_queue import GroupWork

Steps = Generator[bool, None, Assignment]


class Assigning:
    """The assignment of the maps of some groups, `step` by `step`."""

    def __init__(self, groups: Sequence[GroupWork], button: str) -> None:
        """button: its label, for the undo history."""
        self._groups = groups
        self._button = button
        self._ready: list[tuple[GroupWork, Steps]] = []
        self._steps: Steps | None = None
        self._waiting = list(groups)

    def step(self) -> bool:
        """Do one slice, of about 100 ms at most; True once everything is assigned.

        Until then nothing that the artist has is changed. A group that cannot be assigned gets an `error`; the others go
        on.
        """
        if not self._waiting:
            for group, steps in self._ready:
                self._finish(group, steps)
            push_undo(f"PBRfit: {self._button}")
            return True
        group = self._waiting[0]
        if self._steps is None:
            self._steps = assignment_steps(group.plan, group.result.files, group.record, group.options, group.recipes)
        try:
            if next(self._steps):
                self._ready.append((group, self._steps))
                self._waiting.pop(0)
                self._steps = None
        except PbrFitError as error:
            group.error = error
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
        self._waiting = [group for group in self._groups if group.error is None]

    def _finish(self, group: GroupWork, steps: Steps) -> None:
        try:
            while True:
                next(steps)
        except StopIteration as end:
            assignment: Assignment = end.value
            result = group.result
            result.material, result.world = assignment.material, assignment.world
            made = bpy.data.materials.get(assignment.material)
            result.material_uid = made.session_uid if made is not None else 0
            result.materials, result.notes = assignment.materials, group.notes + assignment.notes
            result.original_materials = assignment.originals
            if not assignment.material:
                group.error = PbrFitError(" ".join(["Nothing was assigned.", *assignment.notes]), group.cure)
        except PbrFitError as error:
            group.error = error


def push_undo(message: str) -> None:
    """Make one undo step of what was just changed. Only a Blender with a window has undo."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=windows[0]):
        bpy.ops.ed.undo_push(message=message)
