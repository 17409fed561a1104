# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in panels: paragraphs that are longer than a line, and lines that open to more."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import bpy

from ..translations.translate import tr
from .text_width import interface_scale, lines_within, text_width

SIDE_UNITS = {"UI": 66.0, "WINDOW": 110.0}
"""What of a region's width is not a paragraph's, by the region's type: margins of panels and boxes, an icon, and in a sidebar its
tabs; in units of the interface, which is unscaled pixels."""
HEADLINE_UNITS = 14.0  # the arrow before a line that opens, beyond that
FEWEST_UNITS = 100.0


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Draw a paragraph in the language of the interface, wrapped to the region's width; nothing for an empty one."""
    lines = lines_within(tr(text), line_width(context), lambda line: text_width(context, line))
    if not lines:
        return
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines):
        shown = icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=shown, translate=False)


def line_width(context: bpy.types.Context) -> float:
    """How wide a line beside an icon can be, in pixels."""
    scale, region = interface_scale(context), context.region
    units = float(region.width) / scale - SIDE_UNITS.get(region.type, SIDE_UNITS["WINDOW"])
    return scale * max(FEWEST_UNITS, units)


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
    width = line_width(context) - HEADLINE_UNITS * interface_scale(context)
    first, *others = lines_within(tr(text), width, lambda line: text_width(context, line)) or [""]
    header.label(text=first, icon=icon, translate=False)
    # What comes after the part that opens would be below it.
    column = (layout if body is None else body).column(align=True)
    if others:
        rest = column.column(align=True)
        rest.scale_y = 0.8
        for line in others:
            rest.label(text=line, icon="BLANK1", translate=False)
    if body is None:
        return None
    for sentence in more:
        draw_text(context, column, sentence)
    opened: bpy.types.UILayout = column
    return opened
