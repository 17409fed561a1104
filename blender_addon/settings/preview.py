# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the preview: what the viewport shows and how, kept with the scene; and passes, kept with the view layer."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, PointerProperty, StringProperty

ENGINE = "PBRFIT_PREVIEW"

AUTOMATIC, GPU, BACKEND = "AUTOMATIC", "GPU", "BACKEND"
SHADED, REFERENCE, ERROR = "SHADED", "REFERENCE", "ERROR"
CHANNELS = {
    SHADED: "shaded",
    "KD": "kd",
    "OCCLUSION": "occlusion",
    "ROUGHNESS": "roughness",
    "METALLIC": "metallic",
    "NORMAL": "normal",
    "LIGHT": "light",
}
"""The frame's channel for everything that can be shown, except reference and error."""

SAMPLES = {"1": 1, "4": 2, "16": 4, "64": 8}
"""Samples of a pixel by name, as samples along each of its sides."""


def draws_preview(scene: bpy.types.Scene | None) -> bool:
    """Whether the preview renders a scene."""
    return scene is not None and bool(scene.render.engine == ENGINE)


def preview_regions() -> list[tuple[bpy.types.SpaceView3D, bpy.types.Region]]:
    """The regions of all windows that show the preview."""
    found: list[tuple[bpy.types.SpaceView3D, bpy.types.Region]] = []
    for window in bpy.context.window_manager.windows:
        if not draws_preview(window.scene):
            continue
        for area in window.screen.areas:
            if area.type == "VIEW_3D" and area.spaces[0].shading.type == "RENDERED":
                found += [(area.spaces[0], region) for region in area.regions if region.type == "WINDOW"]
    return found


def redraw_previews(_settings: object = None, _context: object = None) -> None:
    """Draw every preview again. The arguments are those of a property's update."""
    for _, region in preview_regions():
        region.tag_redraw()


class PBRFIT_PreviewSettings(bpy.types.PropertyGroup):
    """What the preview of this scene shows."""

    draw_with: EnumProperty(
        name="Draw With",
        description="What draws the preview",
        items=[
            (
                AUTOMATIC,
                "Automatic",
                "Blender's own GPU, if it can; the backend for renders with F12, if there is one",
            ),
            (GPU, "Blender's GPU", "Blender's own GPU, at once and without a backend"),
            (BACKEND, "Backend", "The frames of the backend: exactly what the fit sees"),
        ],
        default=AUTOMATIC,
        update=redraw_previews,
    )
    show: EnumProperty(
        name="Show",
        description="What to show of the objects",
        items=[
            (SHADED, "Shaded", "The material in its light, as the fit sees it"),
            (REFERENCE, "Reference", "The reference render of the fit whose camera is nearest to the view"),
            (ERROR, "Error", "How far the material is from that reference render: the difference of the sRGB values"),
            None,
            ("KD", "Base Color", "The base color alone"),
            ("OCCLUSION", "Occlusion", "Ambient occlusion as grey: white is open"),
            ("ROUGHNESS", "Roughness", "Roughness as grey"),
            ("METALLIC", "Metallic", "Metallic as grey"),
            ("NORMAL", "Normal", "The normal in the world, with the normal map"),
            ("LIGHT", "Light", "The light alone, on a white surface"),
        ],
        default=SHADED,
        update=redraw_previews,
    )
    viewport_samples: EnumProperty(
        name="Viewport",
        description="Samples of each pixel when the view stands still. While it moves, one",
        items=[(name, name, f"{name} samples a pixel") for name in ("1", "4", "16")],
        default="16",
        update=redraw_previews,
    )
    render_samples: EnumProperty(
        name="Render",
        description="Samples of each pixel of a render",
        items=[(name, name, f"{name} samples a pixel") for name in SAMPLES],
        default="16",
    )
    engine_before: StringProperty(
        name="Engine Before", description="The render engine that End Preview goes back to", options={"HIDDEN"}
    )
    shading_before: StringProperty(
        name="Shading Before", description="The viewport shading that End Preview goes back to", options={"HIDDEN"}
    )


def update_passes(_settings: PBRFIT_PreviewPasses, context: bpy.types.Context) -> None:
    """Tell the compositor that a pass was added or removed."""
    context.view_layer.update_render_passes()


class PBRFIT_PreviewPasses(bpy.types.PropertyGroup):
    """Passes of a render that only the preview has."""

    use_kd: BoolProperty(
        name="Base Color",
        description='Deliver the pass "kd": base color and alpha',
        default=False,
        update=update_passes,
    )
    use_orm: BoolProperty(
        name="ORM",
        description='Deliver the pass "ORM": ambient occlusion, roughness and metallic in red, green and blue',
        default=False,
        update=update_passes,
    )


CLASSES = (PBRFIT_PreviewSettings, PBRFIT_PreviewPasses)


def register() -> None:
    """Register the settings and add them to scene and view layer."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    bpy.types.Scene.pbrfit_preview = PointerProperty(type=PBRFIT_PreviewSettings, name="PBRfit Preview")
    bpy.types.ViewLayer.pbrfit_preview = PointerProperty(type=PBRFIT_PreviewPasses, name="PBRfit Preview")


def unregister() -> None:
    """Remove the settings from scene and view layer."""
    del bpy.types.ViewLayer.pbrfit_preview
    del bpy.types.Scene.pbrfit_preview
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
