# SPDX-License-Identifier: GPL-3.0-or-later
"""What the overlay shows, and until when: it ends for an object whose mesh or fitted materials change, and when a file is
loaded. Nothing of it is in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import bpy
import gpu
from bpy.app.handlers import persistent

from ..assign import memory
from ..common.records import record_of
from ..common.redraw import redraw_views
from ..export.mesh_reading import Readings
from ..protocol.unseen import unseen_mask
from ..session import session
from .drawing import DrawnFaces, clip_matrix
from .unseen_faces import UnseenFaces, UnseenPart, surface_area, unseen_faces

Fits = tuple[tuple[str, str], ...]


@dataclass
class ShownObject:
    """An object of the overlay. name: it may get another one, and `uid` still identifies it; fits: of its slots when it was
    shown; faces: what to draw; drawn: the same on the GPU, once it was drawn; share: of its fitted surface, 0..1."""

    name: str
    uid: int
    fits: Fits
    faces: list[UnseenFaces]
    share: float
    drawn: list[DrawnFaces] = field(default_factory=list)

    def found(self) -> bpy.types.Object | None:
        """The object, if it is still there."""
        named = bpy.data.objects.get(self.name)
        if named is None or named.session_uid != self.uid:
            named = next((item for item in bpy.data.objects if item.session_uid == self.uid), None)
        return named


_shown: dict[int, ShownObject] = {}
_handle: Any = None


def shown() -> list[ShownObject]:
    """What the overlay shows."""
    return list(_shown.values())


def show(context: bpy.types.Context, objects: Iterable[bpy.types.Object]) -> list[ShownObject]:
    """Show what no view saw of some objects, in place of what was shown; returns what is shown now."""
    global _handle
    readings = Readings(context.evaluated_depsgraph_get())
    hide()
    for item in objects:
        made = _shown_object(item, readings)
        if made is not None:
            _shown[made.uid] = made
    if _shown and _handle is None:
        _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
    redraw_views()
    return shown()


def hide() -> None:
    """Show nothing any more."""
    global _handle
    _shown.clear()
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
        _handle = None
        redraw_views()


def has_unseen(scene_object: bpy.types.Object) -> bool:
    """Whether there are parts of an object that no view of its running or last fit saw."""
    return bool(unseen_parts(scene_object))


def unseen_parts(scene_object: bpy.types.Object) -> list[UnseenPart]:
    """What no view saw of an object: of the fit that runs, if that knows, or else of the fit that its slots remember."""
    current = session.current()
    running = current.unseen_sets if current is not None else {}
    found = [
        (slot, one.uv_map, one.tile, one.mask)
        for (uid, slot), sets in running.items()
        if uid == scene_object.session_uid
        for one in sets
    ]
    if not found:
        for item in memory.remembered(scene_object):
            material = item.entry.get("fitted")
            if material is None:
                continue
            record = record_of(material)
            unseen = record.get("unseen", {})
            slot = item.slot.slot_index
            found += [(slot, record["uv_map"], int(tile), text) for tile, text in unseen.items()]
    masks = [(slot, uv_map, tile, unseen_mask(text)) for slot, uv_map, tile, text in found]
    return [UnseenPart(slot, uv_map, tile, mask) for slot, uv_map, tile, mask in masks if mask is not None]


def _fits_of(scene_object: bpy.types.Object) -> Fits:
    return tuple((item.key, str(item.entry["fit"])) for item in memory.remembered(scene_object))


def _shown_object(scene_object: bpy.types.Object, readings: Readings) -> ShownObject | None:
    parts = unseen_parts(scene_object)
    slot_count = max(1, len(scene_object.material_slots))
    faces = []
    for part in parts:
        reading = readings.of(scene_object, part.uv_map)
        found = unseen_faces(reading, slot_count, part)
        if found is not None:
            faces.append(found)
    if not faces:
        return None
    slots = {part.slot_index for part in parts} | {item.slot.slot_index for item in memory.remembered(scene_object)}
    whole = surface_area(readings.of(scene_object, parts[0].uv_map), slot_count, sorted(slots))
    share = sum(one.area for one in faces) / whole if whole else 0.0
    return ShownObject(scene_object.name, scene_object.session_uid, _fits_of(scene_object), faces, share)


def _draw() -> None:
    context = bpy.context
    space, view = context.space_data, context.region_data
    if not isinstance(space, bpy.types.SpaceView3D) or view is None or not space.overlay.show_overlays:
        return
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    for one in _shown.values():
        found = one.found()
        if found is None or not found.visible_in_viewport_get(space):
            continue
        one.drawn = one.drawn or [DrawnFaces(faces) for faces in one.faces]
        matrix = clip_matrix(view.view_matrix, view.window_matrix, found.matrix_world, view.view_distance)
        for drawn in one.drawn:
            drawn.draw(matrix)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")


# What ends it ---------------------------------------------------------------------------------------------------------


def _drop(uids: Iterable[int]) -> None:
    for uid in list(uids):
        _shown.pop(uid, None)
    if not _shown:
        hide()
    redraw_views()


@persistent
def depsgraph_updated(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After any change: drop the objects whose mesh or fitted materials have changed."""
    if not _shown:
        return
    changed = {
        update.id.original.session_uid
        for update in depsgraph.updates
        if update.is_updated_geometry and isinstance(update.id, bpy.types.Object)
    }
    _drop_if_changed(changed)


@persistent
def undone(*_arguments: object) -> None:
    """After undo and redo."""
    if _shown:
        _drop_if_changed(set())


def _drop_if_changed(changed: set[int]) -> None:
    gone = []
    for uid, one in _shown.items():
        found = one.found()
        if uid in changed or found is None or _fits_of(found) != one.fits:
            gone.append(uid)
    if gone:
        _drop(gone)


@persistent
def file_will_change(*_arguments: object) -> None:
    """Before another file is loaded."""
    hide()


HANDLERS = {
    "depsgraph_update_post": depsgraph_updated,
    "undo_post": undone,
    "redo_post": undone,
    "load_pre": file_will_change,
}


def register() -> None:
    """Give the handlers to Blender."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Show nothing, and take the handlers back."""
    hide()
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
