# SPDX-License-Identifier: GPL-3.0-or-later
"""Paragraphs in the preferences, wrapped to their width."""

from __future__ import annotations

import textwrap

import bpy

from ..translations.translate import tr

POINTS_FOR_EACH_CHARACTER = 6.5


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Show a paragraph in the language of the interface, wrapped to the width of the preferences; nothing for an empty one."""
    if not text:
        return
    width = context.region.width / context.preferences.system.ui_scale - 110.0
    characters = max(40, int(width / POINTS_FOR_EACH_CHARACTER))
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in tr(text).splitlines() for line in textwrap.wrap(part, characters)]
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 and icon != "NONE" else "BLANK1", translate=False)
