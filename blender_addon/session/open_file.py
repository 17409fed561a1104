# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that work was started in: whether it is open, where its objects are, and whether it may be changed now.

While a fit or bake runs the artist works on: renames, saves under another name, opens another file and comes back.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

import bpy

from .group_queue import GroupWork

# Undo in the other modes covers what that mode edits, but not materials: an assignment there could not be undone.
MODES_WITH_FULL_UNDO = frozenset({"OBJECT", "POSE", "WEIGHT_PAINT", "VERTEX_PAINT"})
# An undo step in the middle of these would record the object where the mouse happens to be.
DRAGGING = ("TRANSFORM_OT_", "MESH_OT_", "SCULPT_OT_", "PAINT_OT_", "CURVE_OT_", "OBJECT_OT_")
JOBS_THAT_READ = ("RENDER", "OBJECT_BAKE")


class OpenFile:
    """Follows the file of groups through loads and saves, and keeps their plans in step with it; handlers call `loaded` and
    `saved`."""

    def __init__(self, groups: Iterable[GroupWork]) -> None:
        self.path = bpy.data.filepath
        self.is_open = True
        self._groups = groups
        self._names = {item.uid: item.name for group in groups for item in group.plan.objects}
        self._scene_names = {scene.session_uid: scene.name for scene in bpy.data.scenes}

    @property
    def lost(self) -> bool:
        """Whether the file is closed and cannot be opened again because it was never saved."""
        return not self.is_open and not self.path

    def saved(self) -> None:
        """The open file was saved: remember the path and the names under which it can be found again."""
        if not self.is_open:
            return
        self.path = bpy.data.filepath
        for item in bpy.data.objects:
            if item.session_uid in self._names:
                self._names[item.session_uid] = item.name
        self._scene_names = {scene.session_uid: scene.name for scene in bpy.data.scenes}

    def loaded(self) -> None:
        """A file was loaded. If it is this one again, everything in it has a new number."""
        self.is_open = bool(self.path) and _same_file(bpy.data.filepath, self.path)
        if not self.is_open:
            return
        uids, scene_uids = _numbers(bpy.data.objects, self._names), _numbers(bpy.data.scenes, self._scene_names)
        for group in self._groups:
            group.plan = group.plan.rebound(uids)
            scene = group.options.world_scene_uid
            if scene is not None:
                group.options = dataclasses.replace(group.options, world_scene_uid=scene_uids[scene])
        self._names = {uids[uid]: name for uid, name in self._names.items()}
        self._scene_names = {scene_uids[uid]: name for uid, name in self._scene_names.items()}

    def obstacle(self) -> str:
        """Why nothing can be assigned now, as a sentence that says what to do; empty if it can."""
        if not self.is_open:
            name = os.path.basename(self.path)
            return f'The maps are ready, but "{name}" is not open. Open it, and PBRfit assigns them; or save the maps.'
        if any(bpy.app.is_job_running(kind) for kind in JOBS_THAT_READ):
            return "The maps are ready. PBRfit assigns them when the render is done."
        for window in bpy.context.window_manager.windows:
            active = window.view_layer.objects.active
            if active is not None and active.mode not in MODES_WITH_FULL_UNDO:
                return "The maps are ready. PBRfit assigns them when you go back to Object Mode."
            if any(item.bl_idname.startswith(DRAGGING) for item in window.modal_operators):
                return "The maps are ready."
        return ""


def _same_file(one: str, other: str) -> bool:
    return bool(one) and os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def _numbers(collection: bpy.types.bpy_prop_collection, names: dict[int, str]) -> dict[int, int]:
    """From old numbers to the numbers that datablocks of these names have now; negative (nobody's) if one is gone."""
    found = {item.name: item.session_uid for item in collection if item.library is None}
    return {uid: found.get(name, -1 - place) for place, (uid, name) in enumerate(names.items())}
