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


def redraw_preferences() -> None:
    """Redraw every editor that shows preferences."""
    for area in _areas("PREFERENCES"):
        area.tag_redraw()


def _areas(kind: str) -> list[bpy.types.Area]:
    windows = bpy.context.window_manager.windows
    return [area for window in windows for area in window.screen.areas if area.type == kind]
