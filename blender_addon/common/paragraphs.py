# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in panels: paragraphs that are longer than a line, and lines that open to more."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import bpy

from ..translations.translate import tr
from .text_width import interface_scale, lines_within, text_width

SIDE_UNITS = {"UI": 60.0, "WINDOW": 96.0}
"""What of a region's width is not a paragraph's, by the region's type: margins of panels and boxes, and in a sidebar its tabs; in
units of the interface, which are unscaled pixels."""
ICON_UNITS = ARROW_UNITS = 25.0  # an icon before a line, and the arrow before a line that opens
FEWEST_UNITS = 100.0


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Draw a paragraph in the language of the interface, wrapped to the region's width; nothing for an empty one."""
    if not text:
        return
    column = layout.column(align=True)
    column.scale_y = 0.8
    draw_lines(context, column, text, icon)


def draw_lines(context: bpy.types.Context, column: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """The same in a column of other lines, as far apart as those."""
    lines = wrapped(context, text, 0.0 if icon == "NONE" else ICON_UNITS)
    for number, line in enumerate(lines):
        shown = icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=shown, translate=False)


def wrapped(context: bpy.types.Context, text: str, before: float) -> list[str]:
    """A text in the language of the interface, in lines of the region's width without `before` units."""
    scale, region = interface_scale(context), context.region
    units = float(region.width) / scale - SIDE_UNITS.get(region.type, SIDE_UNITS["WINDOW"]) - before
    return lines_within(tr(text), scale * max(FEWEST_UNITS, units), lambda line: text_width(context, line))


def draw_line(
    context: bpy.types.Context,
    layout: bpy.types.UILayout,
    text: str,
    icon: str,
    more: Sequence[str] = (),
    closed: bool = True,
    apart: bool = False,
) -> bpy.types.UILayout | None:
    """Draw a headline that opens to `more` sentences, wrapped where it is longer than a line.

    layout: a panel's own. Returns the open part, for a button, or None while it is closed. Blender remembers for each text
    whether it is open; `apart` keeps that from the same text elsewhere.
    """
    header, body = layout.panel(f"pbrfit_{zlib.crc32(f'{text}{apart}'.encode()):08x}", default_closed=closed)
    first, *others = wrapped(context, text, ICON_UNITS + ARROW_UNITS) or [""]
    header.label(text=first, icon=icon, translate=False)
    # What comes after the part that opens would be below it.
    owner = layout if body is None else body
    if others:
        rest = owner.column(align=True)
        rest.scale_y = 0.8
        for line in others:
            rest.label(text=line, icon="BLANK1", translate=False)
    if body is None:
        return None
    column = body.column(align=True)
    for sentence in more:
        draw_text(context, column, sentence)
    opened: bpy.types.UILayout = column
    return opened
