# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a scene under which a pixel of Cycles is the plain mean of its samples, whatever the artist has chosen.

What geometry or materials can read or depend on stays as it is: time, frame rate, simplification.
"""

from __future__ import annotations

import bpy

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


def set_plain_cycles(scene: bpy.types.Scene, samples: int, threads: int) -> None:
    """Make every pixel the mean of `samples` paths over its own square: no wider filter, denoiser, clamp or early stop.

    threads: of the processor; 0: all.
    """
    cycles = scene.cycles
    for item in cycles.bl_rna.properties:
        if not item.is_readonly and item.identifier not in CYCLES_SETTINGS_KEPT:
            cycles.property_unset(item.identifier)
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.sample_clamp_direct = 0.0
    cycles.sample_clamp_indirect = 0.0
    cycles.pixel_filter_type = "BOX"
    cycles.filter_width = 1.0
    cycles.use_auto_tile = False
    render = scene.render
    render.threads_mode = "FIXED" if threads else "AUTO"
    if threads:
        render.threads = threads


def set_plain_output(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> None:
    """Render only this view layer with Cycles, transparent around the objects, as float pixels in scene linear."""
    render = scene.render
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    for name in NOT_WANTED:
        setattr(render, name, False)
    render.engine = "CYCLES"
    render.film_transparent = True
    render.dither_intensity = 0.0
    render.use_persistent_data = True
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
