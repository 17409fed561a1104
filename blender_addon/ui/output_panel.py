# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel that says how Save Maps writes the maps: for which program, where, under which names and as which files; and
the pictures that can be rendered of a result."""

from __future__ import annotations

import bpy

from ..common.errors import PbrFitError
from ..common.paragraphs import draw_text
from ..protocol.map_layouts import Layout
from ..settings.output import AS_THEY_ARE, PBRFIT_OutputSettings, has_quality, output_layout, own_layouts
from .operators_export import draw_pictures
from .sidebar import SidebarPanel


class OutputPanel(SidebarPanel):
    """Settings of Save Maps. A panel says by `draw_settings` which."""

    layout: bpy.types.UILayout  # from `bpy.types.Panel`

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the scene's settings."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        self.draw_settings(context, self.layout)

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Draw the settings of this panel."""
        raise NotImplementedError


class PBRFIT_PT_output(OutputPanel, bpy.types.Panel):
    """For which program Save Maps saves, where, and under which names."""

    bl_idname = "PBRFIT_PT_output"
    bl_label = "Output"
    bl_parent_id = "PBRFIT_PT_fit"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """The layout, the folder and the names."""
        settings = context.scene.pbrfit_output
        row = layout.row(align=True)
        row.prop(settings, "layout_choice")
        row.operator("pbrfit.new_layout", text="", icon="ADD")
        if settings.layout in own_layouts():
            row.operator("pbrfit.remove_layout", text="", icon="REMOVE")
        layout.prop(settings, "folder")
        draw_names(context, layout)
        draw_pictures(layout)


def draw_layout(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The layout and the names of the files, beside a file browser that asks for the folder."""
    layout.prop(context.scene.pbrfit_output, "layout_choice")
    draw_names(context, layout)


def draw_names(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The names that the layout gives the files, or why it cannot be used."""
    settings = context.scene.pbrfit_output
    if settings.layout == AS_THEY_ARE:
        return
    try:
        chosen = output_layout(settings)
    except PbrFitError as error:
        layout.prop(settings, "pattern")
        draw_text(context, layout, str(error), "ERROR")
        return
    assert chosen is not None
    layout.prop(settings, "pattern", placeholder=chosen.pattern)


class PBRFIT_PT_output_files(OutputPanel, bpy.types.Panel):
    """What the files of Save Maps are."""

    bl_idname = "PBRFIT_PT_output_files"
    bl_label = "Files"
    bl_parent_id = "PBRFIT_PT_output"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Images as they are have no choices."""
        return bool(context.scene.pbrfit_output.layout != AS_THEY_ARE)

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """The format and what goes with it."""
        settings = context.scene.pbrfit_output
        layout.prop(settings, "format")
        layout.prop(settings, "bits")
        chosen = chosen_layout(settings)
        if chosen is not None and has_quality(chosen):
            layout.prop(settings, "quality")
        layout.prop(settings, "dither")
        layout.prop(settings, "size")


def chosen_layout(settings: PBRFIT_OutputSettings) -> Layout | None:
    """The chosen layout, or None if it cannot be used."""
    try:
        return output_layout(settings)
    except PbrFitError:
        return None


CLASSES = (PBRFIT_PT_output, PBRFIT_PT_output_files)


def register() -> None:
    """Register the panels."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the panels."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
