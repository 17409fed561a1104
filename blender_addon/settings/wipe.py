# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two sides of a comparison in a 3D view show; kept while Blender runs."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, PointerProperty

from ..common.redraw import redraw_views

ORIGINAL, NEW, BAKE, ERROR = "ORIGINAL", "NEW", "BAKE", "ERROR"
FIRST = (
    ORIGINAL,
    "Original",
    "The material that was there before: as Cycles renders it where that is known, else its baked maps",
)
OTHERS = (
    (BAKE, "Bake", "The maps that a bake alone makes of the original, shaded in the same way"),
    (
        ERROR,
        "Error",
        "How far the new material is from the original: the difference of the sRGB values, from black to white",
    ),
)
OF_FIT = [FIRST, (NEW, "Fitted", "The new material, shaded as the fit does it"), *OTHERS]
OF_BAKE = [FIRST, (NEW, "Baked", "The new material, shaded as a fit would do it"), *OTHERS]


def label_of(side: str, of_bake: bool) -> str:
    """What a side shows, in a word."""
    return next(label for name, label, _ in (OF_BAKE if of_bake else OF_FIT) if name == side)


def _items(settings: PBRFIT_WipeSettings, _context: object) -> list[tuple[str, str, str]]:
    return OF_BAKE if settings.of_bake else OF_FIT


def _redraw(_settings: object, _context: object) -> None:
    redraw_views()


class PBRFIT_WipeSettings(bpy.types.PropertyGroup):
    """What the two sides show. of_bake: whether the new materials come from a bake and not from a fit."""

    of_bake: BoolProperty(name="Bake", description="Whether the new materials come from a bake and not from a fit")
    left: EnumProperty(name="Left", description="What is left of the divider", items=_items, default=0, update=_redraw)
    right: EnumProperty(
        name="Right", description="What is right of the divider", items=_items, default=1, update=_redraw
    )
    gain: FloatProperty(
        name="Gain",
        description="How much brighter than it is an error is shown",
        default=4.0,
        min=1.0,
        max=64.0,
        soft_max=16.0,
        update=_redraw,
    )


def register() -> None:
    """Register the settings and add them to the window manager."""
    bpy.utils.register_class(PBRFIT_WipeSettings)
    bpy.types.WindowManager.pbrfit_wipe = PointerProperty(type=PBRFIT_WipeSettings, name="PBRfit Comparison")


def unregister() -> None:
    """Remove the settings from the window manager."""
    del bpy.types.WindowManager.pbrfit_wipe
    bpy.utils.unregister_class(PBRFIT_WipeSettings)
