# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine "PBRfit Preview": Rendered shading and F12, shaded as the fit does it."""

from __future__ import annotations

import blf
import bpy
from bpy.app.handlers import persistent

from ...settings.preview import ENGINE
from ...translations.translate import tr
from . import hub
from .final import close_final, render_final, update_passes
from .icon import render_icon
from .viewport import Viewport

TEXT_SIZE = 13.0
TEXT_PLACE = (90.0, 24.0)  # clear of the toolbar


class PBRFIT_PreviewEngine(bpy.types.RenderEngine):
    """Blender creates one for every region in Rendered shading, and one for every render."""

    bl_idname = ENGINE
    bl_label = "PBRfit Preview"
    bl_use_preview = True
    # In a window, a render's thread with a GPU context would block Blender's main thread; there the main thread draws.
    bl_use_gpu_context = bpy.app.background
    bl_use_eevee_viewport = True
    bl_use_shading_nodes_custom = False
    bl_use_postprocess = True

    _viewport: Viewport | None = None

    @property
    def viewport(self) -> Viewport:
        """What the engine keeps for its region."""
        if self._viewport is None:
            self._viewport = Viewport()
        return self._viewport

    def view_update(self, _context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """The scene has changed."""
        self.viewport.update(depsgraph)

    def view_draw(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draw a region."""
        self.viewport.draw(self, context, depsgraph)

    def update_render_passes(self, scene: bpy.types.Scene, renderlayer: bpy.types.ViewLayer) -> None:
        """Tell Blender which passes there will be."""
        update_passes(self, scene, renderlayer)

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Render an image, or the icon of a material."""
        if self.is_preview:
            render_icon(self, depsgraph)
        else:
            render_final(self, depsgraph)


def draw_text() -> None:
    """Draw the preview's status lines in a region."""
    context = bpy.context
    region = context.region
    viewport = hub.viewport_of(region)
    if viewport is None:
        return
    said = [text for text, icon in hub.lines(context.scene) if icon != "INFO"]
    said += [viewport.label] if viewport.label else []
    scale = context.preferences.system.ui_scale
    blf.size(0, TEXT_SIZE * scale)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 5, 0.0, 0.0, 0.0, 0.8)
    blf.color(0, 1.0, 1.0, 1.0, 1.0)
    for number, text in enumerate(reversed(said)):
        blf.position(0, TEXT_PLACE[0] * scale, (TEXT_PLACE[1] + 1.5 * TEXT_SIZE * number) * scale, 0.0)
        blf.draw(0, tr(text))
    blf.disable(0, blf.SHADOW)


@persistent
def render_ended(*_arguments: object) -> None:
    """After a render, or all frames of an animation."""
    close_final()


ENDINGS = ("render_complete", "render_cancel")
_text_handler: object | None = None


def register() -> None:
    """Register the engine."""
    global _text_handler
    bpy.utils.register_class(PBRFIT_PreviewEngine)
    for name in ENDINGS:
        getattr(bpy.app.handlers, name).append(render_ended)
    if not bpy.app.background:
        _text_handler = bpy.types.SpaceView3D.draw_handler_add(draw_text, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    """End what runs for the engine, and unregister it."""
    global _text_handler
    if _text_handler is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_text_handler, "WINDOW")
        _text_handler = None
    for name in ENDINGS:
        getattr(bpy.app.handlers, name).remove(render_ended)
    close_final()
    hub.close_hub()
    bpy.utils.unregister_class(PBRFIT_PreviewEngine)
