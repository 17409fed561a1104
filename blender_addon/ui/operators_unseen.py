# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator that shows in the viewports what no view of a fit saw, and its button."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..export.plan import target_objects
from ..overlay import overlay
from ..translations.translate import tr_report


def unseen_targets(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected objects (or the active one) that have parts that no view saw."""
    return [item for item in target_objects(context) if item.type == "MESH" and overlay.has_unseen(item)]


class PBRFIT_OT_show_unseen(bpy.types.Operator):
    """Show what no view of the fit saw."""

    bl_idname = "pbrfit.show_unseen"
    bl_label = "Show Unseen Parts"
    bl_description = (
        "Show in all 3D views which parts of the selected or active objects no view of the fit saw, or stop showing them. "
        "There the maps are as baked, or filled from what is around them"
    )
    bl_options = {"REGISTER"}

    poll_message_set: Callable[[str], None]  # from `bpy.types.Operator`
    report: Callable[[set[str], str], None]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be something to show or to hide."""
        if not overlay.shown() and not unseen_targets(context):
            cls.poll_message_set("No selected or active object has a fit with parts that no view saw")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show, or hide."""
        if overlay.shown():
            overlay.hide()
            return {"FINISHED"}
        shown = overlay.show(context, unseen_targets(context))
        if not shown:
            self.report({"WARNING"}, "The mesh has changed since the fit: none of its faces has the unseen parts")
            return {"CANCELLED"}
        shares = ", ".join(tr_report(f'{one.share:.1%} of the surface of "{one.name}"') for one in shown)
        self.report({"INFO"}, tr_report(f"No view saw {shares}"))
        return {"FINISHED"}


def draw_unseen(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The button, where there is something to show or to hide."""
    shown = bool(overlay.shown())
    if shown or unseen_targets(context):
        text = "Hide Unseen Parts" if shown else "Show Unseen Parts"
        layout.operator("pbrfit.show_unseen", text=text, icon="OVERLAY", depress=shown)


def register() -> None:
    """Register the operator."""
    bpy.utils.register_class(PBRFIT_OT_show_unseen)


def unregister() -> None:
    """Unregister the operator."""
    bpy.utils.unregister_class(PBRFIT_OT_show_unseen)
