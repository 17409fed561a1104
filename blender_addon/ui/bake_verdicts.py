# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a bake, the panel says what can become of each material."""

from __future__ import annotations

import bpy

from ..closures.verdict import COMPOSITE, EXACT, UNREADABLE, VIEW
from ..common.names import RECORD
from ..export.plan import target_objects
from ..preflight import checks as preflight
from ..preflight.verdicts import verdict
from ..settings.properties import BAKE, learns_light
from .paragraphs import draw_text

ICONS = {EXACT: "CHECKMARK", COMPOSITE: "INFO", VIEW: "INFO", UNREADABLE: "ERROR"}
MOST_MATERIALS = 4
MOST_LOST = 2


def draw_bake(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """What to bake for, and the button."""
    column = layout.column(align=True)
    column.row(align=True).prop(context.scene.pbrfit, "bake_target", expand=True)
    row = column.row(align=True)
    row.enabled = not preflight.errors_of(preflight.quick_findings(context, preflight.BAKE))
    row.operator("pbrfit.bake_maps", icon="TEXTURE")


def draw_verdicts(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """What can become of each material of the selection, and what the maps cannot keep."""
    materials = shown_materials(context)
    for material in materials[:MOST_MATERIALS]:
        known = verdict(material, context.scene.pbrfit.bake_target)
        draw_text(context, layout, known.text, ICONS[known.kind])
        for sentence in known.lost[:MOST_LOST]:
            draw_text(context, layout, sentence, "BLANK1")
        if len(known.lost) > MOST_LOST:
            layout.label(text=f"and {len(known.lost) - MOST_LOST} more", icon="BLANK1")
    if len(materials) > MOST_MATERIALS:
        layout.label(text=f"and {len(materials) - MOST_MATERIALS} more materials", icon="BLANK1")


def needs_no_fit(context: bpy.types.Context) -> bool:
    """Whether a fit of the selection is only a bake: that says all of its materials."""
    settings = context.scene.pbrfit
    materials = shown_materials(context)
    return (
        settings.start == BAKE
        and not learns_light(settings)
        and bool(materials)
        and all(verdict(material, settings.bake_target).says_all for material in materials)
    )


def shown_materials(context: bpy.types.Context) -> list[bpy.types.Material]:
    """The materials that the selection shows: those of its faces, or of all slots where modifiers decide about faces.

    Those that PBRfit made are not looked at; those that cannot be baked as they are come first.
    """
    found: list[bpy.types.Material] = []
    for item in target_objects(context):
        if item.type == "MESH":
            found += preflight.quick_materials([item]) or [slot.material for slot in item.material_slots]
    target = context.scene.pbrfit.bake_target
    materials = [material for material in dict.fromkeys(found) if material is not None and RECORD not in material]
    order = (UNREADABLE, VIEW, COMPOSITE, EXACT)
    return sorted(materials, key=lambda material: order.index(verdict(material, target).kind))
