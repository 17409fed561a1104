# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that turn once around the upright, as a film or as frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..common.errors import PbrFitError
from ..common.render_devices import use_devices
from .picture_scene import CYCLES, PictureScene

Json = dict[str, Any]
MP4, PNG = "MP4", "PNG"
DIGITS = 4


def render_turntable(pictures: PictureScene, plan: Json, path: Path, report: Callable[[Json], None]) -> None:
    """Render one turn as a film at `path`, or as frames whose names have their number before the ending of `path`.

    plan: ``form`` (MP4 or PNG), ``frames``, ``fps``, ``size`` [width, height], ``samples``, ``engine``, ``devices``.
    Raises PbrFitError if a Blender without a screen cannot render so.
    """
    scene, count = pictures.scene, int(plan["frames"])
    scene.frame_start, scene.frame_end, scene.frame_step = 1, count, 1
    scene.render.fps, scene.render.fps_base = int(plan["fps"]), 1.0
    turn_once(pictures.turn, count)
    on_gpu = use_devices(scene, plan, report) if plan["engine"] == CYCLES and "devices" in plan else False
    width, height = (2 * max(1, int(edge) // 2) for edge in plan["size"])  # H.264 has no odd sizes
    pictures.render_with(plan["engine"], (width, height), int(plan["samples"]), on_gpu)
    set_output(scene, plan["form"], path)

    def rendered(*_arguments: Any) -> None:
        report({"progress": min(1.0, (scene.frame_current - scene.frame_start + 1) / count)})

    bpy.app.handlers.render_post.append(rendered)
    try:
        bpy.ops.render.render(animation=True)
    except RuntimeError as error:
        cause = str(error).strip().removeprefix("Error: ")
        raise PbrFitError(
            f"Blender cannot render the turntable: {cause}", "Choose Cycles, or another format."
        ) from error
    finally:
        bpy.app.handlers.render_post.remove(rendered)
    if not any(path.parent.iterdir()):
        raise PbrFitError("Blender rendered no frame of the turntable.", "Choose Cycles, and make room on the disk.")


def turn_once(turn: bpy.types.Object, count: int) -> None:
    """Key one even turn: the frame after the last is like the first."""
    for frame, angle in ((1, 0.0), (count + 1, 2.0 * math.pi)):
        turn.rotation_euler = (0.0, 0.0, angle)
        turn.keyframe_insert("rotation_euler", index=2, frame=frame)
    for curve in curves_of(turn):
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"


def curves_of(turn: bpy.types.Object) -> list[bpy.types.FCurve]:
    """The curves of an object's action, which Blender 5 keeps for its slots."""
    action = turn.animation_data.action
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    return [
        curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves
    ]


def set_output(scene: bpy.types.Scene, form: str, path: Path) -> None:
    """Let a scene render into a film at `path`, or into frames beside it."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "VIDEO" if form == MP4 else "IMAGE"
    if form == PNG:
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
        scene.render.filepath = str(path.with_name(f"{path.stem}_{'#' * DIGITS}"))
        return
    settings.file_format = "FFMPEG"
    settings.color_mode = "RGB"
    film = scene.render.ffmpeg
    film.format, film.codec, film.audio_codec = "MPEG4", "H264", "NONE"
    film.constant_rate_factor, film.ffmpeg_preset = "HIGH", "GOOD"
    film.gopsize = scene.render.fps
    scene.render.filepath = str(path)
