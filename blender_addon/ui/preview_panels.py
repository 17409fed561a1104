# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels of the preview, in the sidebar and in the properties; and Blender's own panels that the preview uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

from ..common.paragraphs import draw_text
from ..preview.engine import hub
from ..settings.preview import ENGINE, draws_preview, redraw_previews
from .sidebar import SidebarPanel

OTHER_ENGINE = "CYCLES"
MOST_NOTES = 4
# Blender's panels for engines that use nodes. Unlike others, they are not marked as panels for any engine.
NODE_PANELS = frozenset(
    {
        "EEVEE_MATERIAL_PT_context_material",
        "EEVEE_MATERIAL_PT_surface",
        "EEVEE_WORLD_PT_surface",
        "MATERIAL_PT_preview",
    }
)
# Panels for any engine that are about things the preview does not draw.
WITHOUT_EFFECT = ("freestyle", "gpencil", "grease_pencil", "greasepencil", "simplify", "stereoscopy", "volume")


def subclasses_of(kind: Any) -> Iterator[Any]:
    """All classes that derive from a class."""
    for below in kind.__subclasses__():
        yield below
        yield from subclasses_of(below)


def panels_of_blender() -> list[Any]:
    """Blender's own panels that the preview uses."""
    found = []
    for panel in subclasses_of(bpy.types.Panel):
        engines = vars(panel).get("COMPAT_ENGINES")
        if engines is None or any(word in panel.__name__.lower() for word in WITHOUT_EFFECT):
            continue
        if "BLENDER_RENDER" in engines or panel.__name__ in NODE_PANELS:
            found.append(panel)
    return found


class PBRFIT_PT_preview(SidebarPanel, bpy.types.Panel):
    """What the viewport shows."""

    bl_idname = "PBRFIT_PT_preview"
    bl_label = "Preview"
    bl_parent_id = "PBRFIT_PT_fit"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the button that turns the preview on, or its settings."""
        layout = self.layout
        if not draws_preview(context.scene) or context.space_data.shading.type != "RENDERED":
            layout.operator("pbrfit.show_preview", icon="SHADING_RENDERED")
            return
        draw_settings(context, layout)
        layout.operator("pbrfit.end_preview", icon="X")
        draw_notes(context, layout)


def draw_settings(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The settings of the preview, and its status lines."""
    settings = context.scene.pbrfit_preview
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.prop(settings, "show")
    layout.prop(settings, "draw_with")
    for text, icon in hub.lines(context.scene):
        draw_text(context, layout, text, icon)
    if hub.can_connect():
        layout.operator("pbrfit.connect_preview", icon="FILE_REFRESH")


def draw_notes(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """How the preview differs from what Blender would show."""
    for note in hub.notes()[:MOST_NOTES]:
        draw_text(context, layout, note, "INFO")


class PropertiesPanel:
    """Where the panels of the preview are in the properties."""

    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "render"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for this engine."""
        return draws_preview(context.scene)


class PBRFIT_PT_preview_settings(PropertiesPanel, bpy.types.Panel):
    """What the preview shows, and what draws it."""

    bl_idname = "PBRFIT_PT_preview_settings"
    bl_label = "Preview"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        draw_settings(context, self.layout)
        draw_notes(context, self.layout)


class PBRFIT_PT_preview_sampling(PropertiesPanel, bpy.types.Panel):
    """Samples."""

    bl_idname = "PBRFIT_PT_preview_sampling"
    bl_label = "Sampling"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        layout, settings = self.layout, context.scene.pbrfit_preview
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "viewport_samples")
        layout.prop(settings, "render_samples")


class PBRFIT_PT_preview_film(PropertiesPanel, bpy.types.Panel):
    """What is behind the objects."""

    bl_idname = "PBRFIT_PT_preview_film"
    bl_label = "Film"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        self.layout.use_property_split = True
        self.layout.prop(context.scene.render, "film_transparent", text="Transparent")


class PBRFIT_PT_preview_passes(PropertiesPanel, bpy.types.Panel):
    """The passes of a render."""

    bl_idname = "PBRFIT_PT_preview_passes"
    bl_label = "Passes"
    bl_context = "view_layer"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        layout, layer = self.layout, context.view_layer
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column(heading="Data", align=True)
        column.prop(layer, "use_pass_z", text="Depth")
        column.prop(layer, "use_pass_normal", text="Normal")
        column = layout.column(heading="Maps", align=True)
        column.prop(layer.pbrfit_preview, "use_kd")
        column.prop(layer.pbrfit_preview, "use_orm")


class PBRFIT_OT_show_preview(bpy.types.Operator):
    """Show what the fit sees: the objects with their maps, shaded as the fit does it. The render engine becomes PBRfit Preview"""

    bl_idname = "pbrfit.show_preview"
    bl_label = "Show Preview"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for a 3D view."""
        return context.space_data is not None and context.space_data.type == "VIEW_3D"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose engine and shading, and remember the previous ones."""
        scene, shading = context.scene, context.space_data.shading
        if not draws_preview(scene):
            scene.pbrfit_preview.engine_before = scene.render.engine
            scene.render.engine = ENGINE
        if shading.type != "RENDERED":
            scene.pbrfit_preview.shading_before = shading.type
            shading.type = "RENDERED"
        return {"FINISHED"}


class PBRFIT_OT_end_preview(bpy.types.Operator):
    """Go back to the previous render engine and shading"""

    bl_idname = "pbrfit.end_preview"
    bl_label = "End Preview"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for a 3D view with the preview."""
        return context.space_data is not None and context.space_data.type == "VIEW_3D" and draws_preview(context.scene)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Undo what `Show Preview` chose."""
        scene, settings = context.scene, context.scene.pbrfit_preview
        try:
            scene.render.engine = settings.engine_before or OTHER_ENGINE
        except TypeError:  # the engine's add-on is gone
            scene.render.engine = OTHER_ENGINE
        context.space_data.shading.type = settings.shading_before or "MATERIAL"
        return {"FINISHED"}


class PBRFIT_OT_connect_preview(bpy.types.Operator):
    """Start the backend, or connect to it, for the preview"""

    bl_idname = "pbrfit.connect_preview"
    bl_label = "Connect Again"
    bl_options = {"INTERNAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Forget that the backend was lost; the next frame asks for it."""
        hub.connect_again()
        redraw_previews()
        return {"FINISHED"}


CLASSES = (
    PBRFIT_OT_show_preview,
    PBRFIT_OT_end_preview,
    PBRFIT_OT_connect_preview,
    PBRFIT_PT_preview,
    PBRFIT_PT_preview_settings,
    PBRFIT_PT_preview_sampling,
    PBRFIT_PT_preview_film,
    PBRFIT_PT_preview_passes,
)
_joined: list[Any] = []


def register() -> None:
    """Register the panels, and show Blender's own for the engine."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    for panel in panels_of_blender():
        panel.COMPAT_ENGINES.add(ENGINE)
        _joined.append(panel)


def unregister() -> None:
    """Undo `register`."""
    for panel in _joined:
        panel.COMPAT_ENGINES.discard(ENGINE)
    _joined.clear()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
