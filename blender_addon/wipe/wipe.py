# SPDX-License-Identifier: GPL-3.0-or-later
"""The one comparison of this Blender: its beginning and end. Undo, another file, another mode and a closed view end it too."""

from __future__ import annotations

import contextlib

import bpy
from bpy.app.handlers import persistent

from ..common.redraw import redraw_views
from ..preview.engine.hub import start_timer
from .comparison import Comparison
from .drawing import ComparisonDrawing
from .view_before import FoundView, find_view

TICK_SECONDS = 0.04

_comparison: Comparison | None = None
_drawing: ComparisonDrawing | None = None
_handle: object | None = None


def current() -> Comparison | None:
    """The comparison that is shown, or None."""
    return _comparison


def drawing() -> ComparisonDrawing | None:
    """What is drawn of it, or None."""
    return _drawing


def shown_view() -> FoundView | None:
    """The view that shows the comparison, or None."""
    return find_view(_comparison.space_pointer, _comparison.region_pointer) if _comparison is not None else None


def largest_view(window: bpy.types.Window) -> FoundView | None:
    """The largest 3D view of a window, or None."""
    areas = [area for area in window.screen.areas if area.type == "VIEW_3D"]
    area = max(areas, key=lambda item: item.width * item.height, default=None)
    return view_of(window, area) if area is not None else None


def view_of(window: bpy.types.Window, area: bpy.types.Area) -> FoundView | None:
    """The view of an area, or None if it shows another editor."""
    if area.type != "VIEW_3D":
        return None
    regions = [region for region in area.regions if region.type == "WINDOW"]
    return FoundView(window, area, area.spaces.active, regions[-1])


def begin(view: FoundView, targets: list[bpy.types.Object]) -> None:
    """Compare what objects show and showed, in a view; ends the comparison before."""
    global _comparison, _drawing, _handle
    end()
    _comparison, _drawing = Comparison(view, targets), ComparisonDrawing()
    bpy.context.window_manager.pbrfit_wipe.of_bake = _comparison.of_bake
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")
    if not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=0.0)
    redraw_views()


def end() -> None:
    """Show nothing any more, and put the view back as it was."""
    global _comparison, _drawing, _handle
    ended, _comparison, _drawing = _comparison, None, None
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
        _handle = None
    if ended is not None:
        ended.end()
        start_timer()  # so that the textures are freed, and the connection ends
        redraw_views()


def tick() -> float | None:
    """Blender's timer; None ends it."""
    if _comparison is None:
        return None
    going = False
    try:
        going = _comparison.tick()
    finally:
        if not going:
            end()
    return TICK_SECONDS if going else None


def _draw() -> None:
    context = bpy.context
    if _comparison is None or _drawing is None or context.region.as_pointer() != _comparison.region_pointer:
        return
    _drawing.draw(_comparison, context)


@persistent
def depsgraph_updated(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After any change."""
    if _comparison is not None and depsgraph.updates:
        _comparison.note_updates(depsgraph)


@persistent
def something_ends_it(*_arguments: object) -> None:
    """Before undo, redo, or another file."""
    end()


@persistent
def file_will_be_saved(*_arguments: object) -> None:
    """Before the file is saved, with its screens: they are saved as they were."""
    if _comparison is not None:
        _comparison.before.put_back()


@persistent
def file_saved(*_arguments: object) -> None:
    """After the file was saved, or could not be."""
    view = shown_view()
    if _comparison is not None and view is not None:
        _comparison.before.hide()
        if _comparison.steps.number is not None:
            _comparison.step_to(view, _comparison.steps.number)


HANDLERS = {
    "depsgraph_update_post": depsgraph_updated,
    "undo_pre": something_ends_it,
    "redo_pre": something_ends_it,
    "load_pre": something_ends_it,
    "save_pre": file_will_be_saved,
    "save_post": file_saved,
    "save_post_fail": file_saved,
}


def register() -> None:
    """Give the handlers to Blender."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """End the comparison, and take the handlers back."""
    end()
    for name, handler in HANDLERS.items():
        with contextlib.suppress(ValueError):
            getattr(bpy.app.handlers, name).remove(handler)
