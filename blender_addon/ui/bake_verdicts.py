# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a bake, the panel says what can become of each material."""

from __future__ import annotations

import bpy

from ..closures.verdict import COMPOSITE, EXACT, UNREADABLE, VIEW, Verdict
from ..common.names import RECORD
from ..common.paragraphs import draw_line
from ..export.plan import target_objects
from ..preflight import checks as preflight
from ..preflight.verdicts import verdict
from ..settings.properties import learns_light
from ..settings.start import BAKE
from ..translations.translate import tr

ICONS = {EXACT: "CHECKMARK", COMPOSITE: "INFO", VIEW: "INFO", UNREADABLE: "ERROR"}
MOST_MATERIALS = 4
KINDS = {
    EXACT: "can be baked exactly",
    COMPOSITE: "can be baked nearly",
    VIEW: "changes with the view",
    UNREADABLE: "cannot be baked",
}


def draw_bake(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """What to bake for, and the button."""
    row = layout.split(factor=0.5, align=True)
    button = row.row(align=True)
    button.enabled = not preflight.errors_of(preflight.quick_findings(context, preflight.BAKE))
    button.operator("pbrfit.bake_maps", icon="TEXTURE")
    target = row.split(factor=0.24, align=True)
    target.label(text="for")
    target.prop(context.scene.pbrfit, "bake_target", text="")


def draw_verdicts(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """A line for each material of the selection: whether it can be baked. It opens to what the maps cannot keep. While something
    else stops a bake, only those materials are named that stop it too."""
    materials = shown_materials(context)
    if is_stopped(context, materials):
        materials = [one for one in materials if verdict(one, context.scene.pbrfit.bake_target).kind == UNREADABLE]
    for material in materials[:MOST_MATERIALS]:
        known = verdict(material, context.scene.pbrfit.bake_target)
        draw_line(context, layout, line_of(material, known), icon_of(known), [known.text, *known.lost])
    if len(materials) > MOST_MATERIALS:
        layout.label(text=tr(f"and {len(materials) - MOST_MATERIALS} more materials"), icon="BLANK1")


def is_stopped(context: bpy.types.Context, materials: list[bpy.types.Material]) -> bool:
    """Whether anything but what is in the materials' nodes stops a bake of them."""
    errors = preflight.errors_of(preflight.quick_findings(context, preflight.BAKE))
    own = {verdict(material, context.scene.pbrfit.bake_target).text for material in materials}
    return any(error.cause not in own for error in errors)


def line_of(material: bpy.types.Material, known: Verdict) -> str:
    """What a bake of a material can do, in a few words."""
    if known.kind == EXACT and known.losses:
        return f"{material.name}: a bake loses a part"
    return f"{material.name} {KINDS[known.kind]}"


def icon_of(known: Verdict) -> str:
    """The icon of a verdict: a tick only where nothing is lost."""
    return "INFO" if known.kind == EXACT and known.losses else ICONS[known.kind]


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
