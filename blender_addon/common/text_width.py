# SPDX-License-Identifier: GPL-3.0-or-later
"""How wide texts are in Blender's interface, and texts in lines of a given width."""

from __future__ import annotations

from collections.abc import Callable

import blf
import bpy

ELLIPSIS = "…"
UI_FONT = 0


def interface_scale(context: bpy.types.Context) -> float:
    """Pixels for each unit of Blender's interface; 1 without a window, where Blender says 0."""
    return float(context.preferences.system.ui_scale) or 1.0


def text_width(context: bpy.types.Context, text: str) -> float:
    """The width of a line of text in Blender's interface, in pixels."""
    blf.size(UI_FONT, context.preferences.ui_styles[0].widget.points * interface_scale(context))
    return float(blf.dimensions(UI_FONT, text)[0])


def lines_within(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A text in lines that are at most `width` wide. Words are broken only where one alone is wider."""
    found = []
    for part in text.splitlines():
        line = ""
        for word in part.split():
            longer = f"{line} {word}" if line else word
            if measure(longer) <= width:
                line = longer
                continue
            if line:
                found.append(line)
            *whole, line = broken(word, width, measure)
            found += whole
        if line:
            found.append(line)
    return found


def broken(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A word in pieces that are at most `width` wide, each of at least one character."""
    pieces = []
    while len(word) > 1 and measure(word) > width:
        count = next((count for count in range(len(word) - 1, 1, -1) if measure(word[:count]) <= width), 1)
        pieces.append(word[:count])
        word = word[count:]
    return [*pieces, word]
