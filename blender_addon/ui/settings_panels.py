# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels with the settings of the next fit or bake."""

from __future__ import annotations

import contextlib

import bpy

from ..assign.images import FILES
from ..common.errors import PbrFitError
from ..common.light_names import STUDIO
from ..common.paragraphs import draw_text
from ..session import session
from ..settings import devices
from ..settings.geometry_maps import CHOICES
from ..settings.properties import FILL_WIDTH
from ..settings.start import MAPS, found_maps
from .sidebar import SidebarPanel

MOST_LINES = 24


class SettingsPanel(SidebarPanel):
    """Settings of the next fit or bake, disabled while one runs. A panel says by `draw_settings` which."""

    bl_options = {"DEFAULT_CLOSED"}
    layout: bpy.types.UILayout  # from `bpy.types.Panel`

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the scene's settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.enabled = not session.running()
        self.draw_settings(context, layout)

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Draw the settings of this panel."""
        raise NotImplementedError


class PBRFIT_PT_settings(SettingsPanel, bpy.types.Panel):
    """Settings of the next fit or bake."""

    bl_idname = "PBRFIT_PT_settings"
    bl_label = "Settings"
    bl_parent_id = "PBRFIT_PT_fit"

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Quality, size of the maps, references, light and device."""
        settings = context.scene.pbrfit
        layout.prop(settings, "start")
        if settings.start == MAPS:
            draw_start_maps(context, layout)
        for name in ("quality", "rounds"):
            layout.prop(settings, name)
        size = layout.column(align=True)
        size.prop(settings, "resolution_choice")
        size.prop(settings, "map_shape")
        layout.prop(settings, "supersampling")
        references = layout.column(align=True)
        for name in ("views", "held_out_views", "view_size", "samples"):
            references.prop(settings, name)
        light = layout.column(align=True)
        light.prop(settings, "reference_light")
        learning = light.column(align=True)
        learning.enabled = settings.reference_light != STUDIO
        learning.prop(settings, "learn_light")
        row = learning.row()
        row.enabled = settings.learn_light
        row.prop(settings, "apply_world")
        if devices.is_choice(settings.device):
            layout.prop(settings, "device_choice")
        layout.prop(settings, "render_device")
        layout.prop(settings, "seed")


def draw_start_maps(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """Which maps a fit begins with, and what is taken as what."""
    settings = context.scene.pbrfit
    for name in ("start_maps", "start_layout", "start_normals"):
        layout.prop(settings, name)
    with contextlib.suppress(PbrFitError):  # the tab's checks say it
        for line in found_maps(settings).words()[:MOST_LINES]:
            draw_text(context, layout, line, "IMAGE_DATA")


class PBRFIT_PT_maps(SettingsPanel, bpy.types.Panel):
    """Which maps there will be, their names, and where they are kept."""

    bl_idname = "PBRFIT_PT_maps"
    bl_label = "Maps"
    bl_parent_id = "PBRFIT_PT_fit"

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """The maps and where they go."""
        settings = context.scene.pbrfit
        maps = layout.column(heading="Maps", align=True)
        for name in ("use_kd", "use_ks", "use_normal", "use_alpha"):
            maps.prop(settings, name)
        further = layout.column(align=True)
        for name in ("use_occlusion", *CHOICES):
            further.prop(settings, name)
        for name in ("map_sets", "use_udim"):
            layout.prop(settings, name)
        new_uv_map = layout.row(align=True)
        new_uv_map.operator("pbrfit.unwrap")
        new_uv_map.operator("pbrfit.pack_islands")
        margin = layout.column(align=True)
        margin.prop(settings, "margin_type")
        if settings.margin_type == FILL_WIDTH:
            margin.prop(settings, "margin")
        for name in ("material_name", "image_storage"):
            layout.prop(settings, name)
        if settings.image_storage == FILES and not bpy.data.filepath:
            draw_text(context, layout, "The .blend is not saved yet: the maps will be packed.", "INFO")


CLASSES = (PBRFIT_PT_settings, PBRFIT_PT_maps)


def register() -> None:
    """Register the panels."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the panels."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
