# SPDX-License-Identifier: GPL-3.0-or-later
"""Make Blender draw parts of its windows again."""

from __future__ import annotations

import bpy


def redraw_sidebars() -> None:
    """Redraw the sidebar of every 3D view."""
    for area in _areas("VIEW_3D"):
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()


def redraw_views() -> None:
    """Redraw every 3D view, with its sidebar."""
    for area in _areas("VIEW_3D"):
        area.tag_redraw()


def redraw_status_bars() -> None:
    """Redraw the status bar of every window, except while an operator of the artist's has its own text there."""
    for window in bpy.context.window_manager.windows:
        if not len(getattr(window, "modal_operators", ())):
            # A status bar is in no list of areas: Blender redraws it when its text is set, here to none.
            with bpy.context.temp_override(window=window):
                window.workspace.status_text_set_internal(None)


def redraw_preferences() -> None:
    """Redraw every editor that shows preferences."""
    for area in _areas("PREFERENCES"):
        area.tag_redraw()


def _areas(kind: str) -> list[bpy.types.Area]:
    windows = bpy.context.window_manager.windows
    return [area for window in windows for area in window.screen.areas if area.type == kind]
