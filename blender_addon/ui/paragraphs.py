# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in the sidebar that is longer than a line."""

from __future__ import annotations

import textwrap

import bpy

POINTS_FOR_EACH_CHARACTER = 6.5


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Draw a paragraph, wrapped to the sidebar's width."""
    scale = context.preferences.system.ui_scale
    characters = max(16, int((context.region.width / scale - 60.0) / POINTS_FOR_EACH_CHARACTER))
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, characters)]
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")
