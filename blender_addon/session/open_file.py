# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that a fit was started in: whether it is the open one, where its objects are, and whether it may be changed.

While a fit runs the artist goes on: renames, saves under another name, opens another file and comes back.
"""

from __future__ import annotations

import dataclasses
import os

import bpy

from .fit_queue import FitQueue

# Undo in the other modes keeps what that mode edits, but not materials: an assignment there could not be undone.
MODES_WITH_FULL_UNDO = frozenset({"OBJECT", "POSE", "WEIGHT_PAINT", "VERTEX_PAINT"})
# A step of undo in the middle of these would hold the object where the mouse happens to be.
DRAGGING = ("TRANSFORM_OT_", "MESH_OT_", "SCULPT_OT_", "PAINT_OT_", "CURVE_OT_", "OBJECT_OT_")
READING_JOBS = ("RENDER", "OBJECT_BAKE")


class OpenFile:
    """Follows the file of a queue of jobs through loads and saves; `loaded` and `saved` are called by handlers."""

    def __init__(self, queue: FitQueue) -> None:
        self.path = bpy.data.filepath
        self.is_open = True
        self._queue = queue
        self._names = {item.uid: item.name for job in queue for item in job.plan.objects}
        self._scene_names = {scene.session_uid: scene.name for scene in bpy.data.scenes}

    @property
    def lost(self) -> bool:
        """Whether it is not open and cannot be opened again, since it was never saved."""
        return not self.is_open and not self.path

    def saved(self) -> None:
        """The open file was saved: under this path and with these names it can be found again."""
        if not self.is_open:
            return
        self.path = bpy.data.filepath
        for item in bpy.data.objects:
            if item.session_uid in self._names:
                self._names[item.session_uid] = item.name
        self._scene_names = {scene.session_uid: scene.name for scene in bpy.data.scenes}

    def loaded(self) -> None:
        """A file was loaded, perhaps this one again: then everything in it has a new number."""
        self.is_open = bool(self.path) and _same_file(bpy.data.filepath, self.path)
        if not self.is_open:
            return
        uids, scene_uids = _numbers(bpy.data.objects, self._names), _numbers(bpy.data.scenes, self._scene_names)
        for job in self._queue:
            job.plan = job.plan.rebound(uids)
            scene = job.options.world_scene_uid
            if scene is not None:
                job.options = dataclasses.replace(job.options, world_scene_uid=scene_uids[scene])
        self._names = {uids[uid]: name for uid, name in self._names.items()}
        self._scene_names = {scene_uids[uid]: name for uid, name in self._scene_names.items()}

    def obstacle(self) -> str:
        """Why nothing can be assigned just now, as a sentence about what to do; empty where it can."""
        if not self.is_open:
            name = os.path.basename(self.path)
            return f'The maps are ready, but "{name}" is not open. Open it to have them assigned, or save the maps.'
        if any(bpy.app.is_job_running(job) for job in READING_JOBS):
            return "The maps are ready. They are assigned when the render is done."
        for window in bpy.context.window_manager.windows:
            active = window.view_layer.objects.active
            if active is not None and active.mode not in MODES_WITH_FULL_UNDO:
                return "The maps are ready. They are assigned when you go back to Object Mode."
            if any(item.bl_idname.startswith(DRAGGING) for item in window.modal_operators):
                return "The maps are ready."
        return ""


def _same_file(one: str, other: str) -> bool:
    return bool(one) and os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def _numbers(collection: bpy.types.bpy_prop_collection, names: dict[int, str]) -> dict[int, int]:
    """From old numbers to the numbers that datablocks of these names have now; negative, nobody's, where one is gone."""
    found = {item.name: item.session_uid for item in collection if item.library is None}
    return {uid: found.get(name, -1 - place) for place, (uid, name) in enumerate(names.items())}
