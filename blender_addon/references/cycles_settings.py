# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a scene under which a pixel of Cycles is the plain mean of its samples, whatever the artist has chosen.

What geometry or materials can read or depend on stays as it is: time, frame rate, simplification.
"""

from __future__ import annotations

import bpy

from .fixed_values import fix

NOT_WANTED = (
    "use_border",
    "use_crop_to_border",
    "use_multiview",
    "use_stamp",
    "use_motion_blur",
    "use_freestyle",
    "use_single_layer",
    "use_compositing",
    "use_sequencer",
)
CYCLES_SETTINGS_KEPT = frozenset(
    {
        "max_bounces",
        "diffuse_bounces",
        "glossy_bounces",
        "transmission_bounces",
        "volume_bounces",
        "transparent_max_bounces",
        "caustics_reflective",
        "caustics_refractive",
        "shading_system",  # Script nodes need OSL
        "feature_set",
    }
)


def set_plain_cycles(scene: bpy.types.Scene, samples: int, threads: int, on_gpu: bool = False) -> None:
    """Make every pixel the mean of `samples` paths over its own square: no wider filter, denoiser, clamp or early stop.

    threads: of the processor; 0: all. on_gpu: whether to render on the GPU of this Blender's preferences.
    """
    cycles = scene.cycles
    for item in cycles.bl_rna.properties:
        if not item.is_readonly and item.identifier not in CYCLES_SETTINGS_KEPT:
            cycles.property_unset(item.identifier)
    fix(
        cycles,
        device="GPU" if on_gpu else "CPU",
        samples=samples,
        seed=0,
        use_adaptive_sampling=False,
        use_denoising=False,
        sample_clamp_direct=0.0,
        sample_clamp_indirect=0.0,
        pixel_filter_type="BOX",
        filter_width=1.0,
        film_exposure=1.0,
        film_transparent_glass=False,
        time_limit=0.0,
        use_auto_tile=False,
    )
    fix(scene.render, threads_mode="FIXED" if threads else "AUTO")
    if threads:
        fix(scene.render, threads=threads)


def set_plain_output(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> None:
    """Render only this view layer with Cycles, transparent around the objects, as float pixels in scene linear."""
    render = scene.render
    fix(render, **dict.fromkeys(NOT_WANTED, False))
    fix(
        render,
        engine="CYCLES",
        resolution_x=64,
        resolution_y=64,
        resolution_percentage=100,
        pixel_aspect_x=1.0,
        pixel_aspect_y=1.0,
        film_transparent=True,
        dither_intensity=0.0,
        use_persistent_data=True,
    )
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "OPEN_EXR"
    settings.color_mode = "RGBA"
    settings.color_depth = "32"
    settings.exr_codec = "NONE"
    settings.color_management = "FOLLOW_SCENE"
    for other in scene.view_layers:
        other.use = other == view_layer
    for item in view_layer.bl_rna.properties:
        if item.identifier.startswith("use_pass_") and not item.is_readonly:
            setattr(view_layer, item.identifier, item.identifier == "use_pass_combined")
    view_layer.material_override = None
    view_layer.samples = 0
    view_layer.use_solid = view_layer.use_sky = True
    view_layer.use_strand = False
    view_layer.use_freestyle = False
