# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on a result: compare, revert, fit or bake again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from ..assign import materials, memory
from ..common.records import is_baked, record_of
from ..export.plan import GroupPlan, target_objects
from ..protocol.map_shape import SQUARE
from ..session import session
from ..settings.properties import use_values
from ..translations.translate import tr, tr_report, without_level

MODES_WHOSE_UNDO_KEEPS_MATERIALS = {"OBJECT", "POSE", "PAINT_VERTEX", "PAINT_WEIGHT"}


def fitted_targets(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected objects (or the active one) that remember a fit."""
    return [item for item in target_objects(context) if next(memory.remembered(item), None) is not None]


def last_material(targets: list[bpy.types.Object]) -> bpy.types.Material | None:
    """The first fitted material of the objects, shown or not, if it was not deleted."""
    return next((item for target in targets for item in materials.fitted_materials(target)), None)


class ResultOperator:
    """An operator that needs an object with a fitted material, in a mode in which undo keeps materials."""

    poll_message_set: Callable[[str], None]  # from `bpy.types.Operator`

    @classmethod
    def poll_idle(cls) -> bool:
        """Whether another fit or bake can start."""
        if session.running():
            cls.poll_message_set(tr(session.busy_text()))
            return False
        return True

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be a selected object with a fitted material."""
        if context.mode not in MODES_WHOSE_UNDO_KEEPS_MATERIALS:
            cls.poll_message_set("Go back to Object Mode: undo in this mode does not keep materials")
            return False
        if not fitted_targets(context):
            cls.poll_message_set("No selected or active object has a material by PBRfit")
            return False
        return True


class PBRFIT_OT_compare(ResultOperator, bpy.types.Operator):
    """Switch the selected or active objects between original and new materials"""

    bl_idname = "pbrfit.compare"
    bl_label = "Show Original or New"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show the other materials."""
        targets = fitted_targets(context)
        fitted = memory.shown(targets) == "ORIGINAL"
        memory.show(context.scene, targets, fitted)
        self.report({"INFO"}, "New materials are shown" if fitted else "Original materials are shown")
        return {"FINISHED"}


class PBRFIT_OT_revert(ResultOperator, bpy.types.Operator):
    """Give the selected or active objects back the materials from before, and remove the new ones"""

    bl_idname = "pbrfit.revert"
    bl_label = "Revert"
    bl_translation_context = "PBRfit"  # Blender's own word for it in German is that for Undo
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put the original materials back."""
        names = memory.revert(context.scene, fitted_targets(context))
        self.report({"INFO"}, tr_report("Removed: " + ", ".join(f'"{name}"' for name in names)))
        return {"FINISHED"}


class PBRFIT_OT_fit_again(ResultOperator, bpy.types.Operator):
    """Show the originals of the selected or active objects and fit or bake them again, with the settings of the last time"""

    bl_idname = "pbrfit.fit_again"
    bl_label = "Fit Again"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only one fit at a time, and there must be a fitted material."""
        return cls.poll_idle() and super().poll(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy the settings to the scene and start."""
        targets = fitted_targets(context)
        material, settings = last_settings(self, targets)
        if material is None:
            return {"CANCELLED"}
        return start_again(self, context, targets, settings, is_baked(material))


def last_settings(
    operator: bpy.types.Operator, targets: list[bpy.types.Object]
) -> tuple[bpy.types.Material | None, dict[str, bool | int | str]]:
    """The last new material of objects, and the scene's settings that it was made with; None where they are lost, and the
    operator reports that."""
    material = last_material(targets)
    settings = {} if material is None else record_of(material).get("scene_settings")
    if material is not None and isinstance(settings, dict):
        return material, {"map_shape": SQUARE} | settings  # earlier versions made square maps, and noted nothing of it
    lost = (
        "was deleted, and the settings with it"
        if material is None
        else "no longer says which settings it was made with"
    )
    operator.report({"ERROR"}, tr_report(f"The new material {lost}. Revert, and start with settings of your own"))
    return None, {}


def start_again(
    operator: bpy.types.Operator,
    context: bpy.types.Context,
    targets: list[bpy.types.Object],
    settings: dict[str, bool | int | str],
    baked: bool,
) -> set[str]:
    """Show the originals of objects, give the scene these settings, and start a bake or a fit; returns what an operator does.

    If it cannot start, what was shown is shown again, and the operator reports why.
    """
    use_values(context.scene.pbrfit, settings)
    shown = memory.shown(targets)
    memory.show(context.scene, targets, fitted=False)
    try:
        button = bpy.ops.pbrfit.bake_maps if baked else bpy.ops.pbrfit.optimize
        started: set[str] = button()
        return started
    except RuntimeError as error:
        memory.show(context.scene, targets, fitted=shown == "FITTED")
        operator.report({"ERROR"}, without_level(error))
        return {"CANCELLED"}


def unassigned(current: session.AnySession | None) -> list[tuple[GroupPlan, dict[str, bytes]]]:
    """Plans and result files of the session that have maps but no material in the file, for example after undo.

    Numbers find a material that was renamed, names one that was loaded again.
    """
    if current is None:
        return []
    there = {item.session_uid for item in bpy.data.materials}
    return [
        (plan, result.files)
        for plan, result in zip(current.plans, current.results, strict=False)
        if result.files and result.material_uid not in there and result.material not in bpy.data.materials
    ]


def draw_object_menu(self: Any, _context: bpy.types.Context) -> None:
    """Add an entry to the Object menu, in which Blender's search (F3) finds the operators by the words of their entries."""
    self.layout.separator()
    self.layout.menu(PBRFIT_MT_object.bl_idname)


class PBRFIT_MT_object(bpy.types.Menu):
    """Fit or bake materials of objects, and work with the result"""

    bl_idname = "PBRFIT_MT_object"
    bl_label = "PBRfit"

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the menu."""
        layout = self.layout
        layout.operator("pbrfit.check", text="Check Before Fitting", icon="VIEWZOOM")
        layout.operator("pbrfit.optimize", icon="MATERIAL")
        layout.operator("pbrfit.bake_maps", text="Bake Texture Maps", icon="TEXTURE")
        layout.operator("pbrfit.fit_again", icon="FILE_REFRESH")
        layout.separator()
        layout.operator("pbrfit.compare_in_view", icon="MOD_MIRROR")
        layout.operator("pbrfit.compare", text="Compare with Original", icon="UV_SYNC_SELECT")
        layout.operator("pbrfit.revert", text="Revert to Original Materials", icon="LOOP_BACK")
        layout.operator("pbrfit.show_unseen", icon="OVERLAY")
        layout.operator("pbrfit.save_maps", text="Save Maps as Files", icon="EXPORT")
        layout.operator("pbrfit.export_model", text="Export with New Materials...", icon="FILE_3D")
        layout.operator("pbrfit.export_turntable", text="Render Turntable...", icon="RENDER_ANIMATION")
        layout.operator("pbrfit.export_sheet", text="Render Contact Sheet...", icon="IMAGE_DATA")


CLASSES = (PBRFIT_OT_compare, PBRFIT_OT_revert, PBRFIT_OT_fit_again, PBRFIT_MT_object)


def register() -> None:
    """Register the operators and the menu."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    bpy.types.VIEW3D_MT_object.append(draw_object_menu)


def unregister() -> None:
    """Unregister the menu and the operators."""
    bpy.types.VIEW3D_MT_object.remove(draw_object_menu)
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
