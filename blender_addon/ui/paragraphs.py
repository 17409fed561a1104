# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in the sidebar: paragraphs that are longer than a line, and lines that open to more."""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Sequence

import bpy

from ..translations.translate import tr

POINTS_FOR_EACH_CHARACTER = 6.5


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Draw a paragraph in the language of the interface, wrapped to the sidebar's width."""
    characters = characters_in_a_line(context)
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in tr(text).splitlines() for line in textwrap.wrap(part, characters)]
    for number, line in enumerate(lines):
        shown = icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=shown, translate=False)


def characters_in_a_line(context: bpy.types.Context) -> int:
    """How many characters fit beside an icon, about."""
    scale = context.preferences.system.ui_scale
    return max(16, int((context.region.width / scale - 60.0) / POINTS_FOR_EACH_CHARACTER))


def draw_line(
    context: bpy.types.Context,
    layout: bpy.types.UILayout,
    text: str,
    icon: str,
    more: Sequence[str] = (),
    closed: bool = True,
) -> bpy.types.UILayout | None:
    """Draw one line of text, cut at the sidebar's width, that opens to all of it and to `more` sentences.

    layout: a panel's own. Returns the open part, for a button, or None while it is closed. Blender remembers for each text
    whether it is open.
    """
    header, body = layout.panel(f"pbrfit_{zlib.crc32(text.encode()):08x}", default_closed=closed)
    text = tr(text)
    header.label(text=text, icon=icon, translate=False)
    if body is None:
        return None
    column = body.column(align=True)
    cut = len(text) > characters_in_a_line(context) - 4
    for sentence in (text, *more) if cut else more:
        draw_text(context, column, sentence)
    opened: bpy.types.UILayout = column
    return opened
