# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab "PBRfit" in the 3D view's sidebar."""

from __future__ import annotations

import textwrap

import bpy

from . import assign, preflight, session
from .session import SessionStatus

POINTS_FOR_EACH_CHARACTER = 6.5
ICONS = {preflight.ERROR: "CANCEL", preflight.WARNING: "ERROR"}


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """A paragraph, wrapped to the sidebar's width."""
    scale = context.preferences.system.ui_scale
    characters = max(16, int((context.region.width / scale - 60.0) / POINTS_FOR_EACH_CHARACTER))
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, characters)]
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s" or "3:05 min"."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02d} min"


def progress_text(status: SessionStatus) -> str:
    """Time left and PSNR of a running fit, as far as they are known."""
    parts = [f"{status.fraction:.0%}"]
    if status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    if status.psnr_db is not None:
        parts.append(f"{status.psnr_db:.1f} dB")
    return ", ".join(parts)


class SidebarPanel:
    """Where the panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "PBRfit"


class PBRFIT_PT_fit(SidebarPanel, bpy.types.Panel):
    """State, what will be fitted, and the button."""

    bl_idname = "PBRFIT_PT_fit"
    bl_label = "PBRfit"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what applies: a running fit, or the next one and the outcome of the last."""
        current = session.current()
        if session.running():
            self.draw_running(context, current.status)
        else:
            self.draw_ready(context)
            if current is not None:
                self.draw_outcome(context, current)

    def draw_running(self, context: bpy.types.Context, status: SessionStatus) -> None:
        """Progress and Cancel."""
        layout = self.layout
        draw_text(context, layout, status.message)
        layout.progress(factor=status.fraction, type="BAR", text=progress_text(status))
        layout.operator("pbrfit.cancel", icon="X")

    def draw_ready(self, context: bpy.types.Context) -> None:
        """What will be fitted, what stands in the way, and the button."""
        layout = self.layout
        scene_object = preflight.target_object(context)
        findings = preflight.quick_findings(context)
        if scene_object is not None and scene_object.type == "MESH":
            column = layout.column(align=True)
            column.label(text=scene_object.name, icon="OBJECT_DATA")
            names = [slot.material.name for slot in scene_object.material_slots if slot.material is not None]
            if names:
                column.label(text=", ".join(names), icon="MATERIAL")
            if scene_object.data.uv_layers.active is not None:
                column.label(text=scene_object.data.uv_layers.active.name, icon="UV")
            if context.scene.world is not None:
                column.label(text=context.scene.world.name, icon="WORLD")
        for finding in findings:
            draw_text(context, layout, str(finding), ICONS[finding.level])
        row = layout.row()
        row.scale_y = 1.5
        row.enabled = not preflight.errors_of(findings)
        row.operator("pbrfit.optimize", icon="MATERIAL")
        if scene_object is not None and assign.fitted_material(scene_object) is not None:
            layout.operator("pbrfit.revert", icon="LOOP_BACK")

    def draw_outcome(self, context: bpy.types.Context, current: session.OptimizeSession) -> None:
        """How the last fit ended."""
        status, box = current.status, self.layout.box()
        if status.error is not None:
            draw_text(context, box, status.error.cause, "CANCEL")
            draw_text(context, box, status.error.cure)
        elif status.state == session.DONE:
            draw_text(context, box, status.message, "CHECKMARK")
            if status.psnr_db is not None:
                box.label(text=f"Held-out views: {status.psnr_db:.1f} dB")
            box.label(text=f"Took {duration(current.result.seconds['total'])}")
        else:
            draw_text(context, box, status.message)


class PBRFIT_PT_settings(SidebarPanel, bpy.types.Panel):
    """Settings of the next fit."""

    bl_idname = "PBRFIT_PT_settings"
    bl_label = "Settings"
    bl_parent_id = "PBRFIT_PT_fit"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the scene's settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.enabled = not session.running()
        settings = context.scene.pbrfit
        layout.prop(settings, "quality")
        layout.prop(settings, "resolution")
        maps = layout.column(heading="Maps", align=True)
        for name in ("use_kd", "use_ks", "use_normal", "use_alpha"):
            maps.prop(settings, name)
        references = layout.column(align=True)
        for name in ("reference", "views", "held_out_views", "view_size", "samples"):
            references.prop(settings, name)
        light = layout.column(heading="Light", align=True)
        light.prop(settings, "learn_light")
        row = light.row()
        row.enabled = settings.learn_light
        row.prop(settings, "apply_world")
        layout.prop(settings, "device")
        layout.prop(settings, "seed")


CLASSES = (PBRFIT_PT_fit, PBRFIT_PT_settings)


def register() -> None:
    """Register the panels."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the panels."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
