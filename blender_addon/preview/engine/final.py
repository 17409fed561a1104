# SPDX-License-Identifier: GPL-3.0-or-later
"""F12: the image and its passes at full quality, from the backend if it can be reached, else from Blender's own GPU.

A Blender with a window calls this in a thread of its own; so the viewports share nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.axes import rotate_to_blender
from ...common.color_spaces import to_scene_linear
from ...common.errors import PbrFitError
from ...common.node_trees import world_of
from ...settings.preview import AUTOMATIC, GPU, SAMPLES
from ...translations.translate import tr, tr_report
from ..scene.baked_looks import baked_looks
from ..scene.cameras import ImageCamera, render_camera
from ..scene.collector import PreviewCollector
from ..scene.light import WorldLights
from ..scene.scene import PreviewScene
from .final_sources import BackendSource, GpuSource, Stopped

_sources: dict[str, BackendSource] = {}
# Not those of the viewports, which belong to Blender's main thread.
_worlds = WorldLights()


@dataclass(frozen=True)
class Pass:
    """A pass of the result: its name, channels as Blender names them, kind of value, and the frames that make it."""

    name: str
    channels: str
    kind: str
    frames: tuple[str, ...]


COMBINED = Pass("Combined", "RGBA", "COLOR", ("shaded",))
DEPTH = Pass("Depth", "Z", "VALUE", ("depth",))
NORMAL = Pass("Normal", "XYZ", "VECTOR", ("normal",))
KD = Pass("kd", "RGBA", "COLOR", ("kd",))
ORM = Pass("ORM", "RGB", "COLOR", ("occlusion", "roughness", "metallic"))


def wanted_passes(layer: bpy.types.ViewLayer) -> list[Pass]:
    """The passes of a view layer."""
    settings = layer.pbrfit_preview
    chosen = (
        (DEPTH, layer.use_pass_z),
        (NORMAL, layer.use_pass_normal),
        (KD, settings.use_kd),
        (ORM, settings.use_orm),
    )
    return [COMBINED, *(item for item, is_wanted in chosen if is_wanted)]


def update_passes(engine: bpy.types.RenderEngine, scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
    """Tell Blender's compositor which passes there will be."""
    for item in wanted_passes(layer):
        engine.register_pass(scene, layer, item.name, len(item.channels), item.channels, item.kind)


def render_final(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
    """Render a view layer; report an error to Blender."""
    try:
        render_layer(engine, depsgraph)
    except Stopped:
        return
    except PbrFitError as error:
        engine.report({"ERROR"}, tr_report(str(error)))
        engine.error_set(str(error))


def render_layer(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
    """Render a view layer. Raises PbrFitError, and Stopped where the artist has stopped it."""
    camera = render_camera(depsgraph)
    if camera is None:
        raise PbrFitError("The scene has no camera.", "Add one, or choose one in the properties of the scene.")
    layer, settings = depsgraph.view_layer, depsgraph.scene.pbrfit_preview
    engine.update_stats("", tr("Reading the scene"))
    collector = PreviewCollector()
    scene = collector.collect(depsgraph)
    if baked_looks().finish(engine.test_break):
        scene = collector.collect(depsgraph)
    environment = _worlds.finish(world_of(depsgraph.scene.original, layer), engine.test_break)
    scene = replace(scene, environment=environment, learned=None, light_job="")
    RenderProgress(engine, 0.0, 0.0)(0.0)
    source = chosen_source(engine, settings.draw_with, scene)
    passes = wanted_passes(layer)
    for item in passes[1:]:
        engine.add_pass(item.name, len(item.channels), item.channels, layer=layer.name)
    try:
        images = drawn_passes(engine, depsgraph.scene, source, camera, passes)
    finally:
        source.end()
    write_result(engine, layer.name, camera, passes, images)


def drawn_passes(
    engine: bpy.types.RenderEngine,
    scene: bpy.types.Scene,
    source: BackendSource | GpuSource,
    camera: ImageCamera,
    passes: list[Pass],
) -> list[NDArray[Any]]:
    """The images of the passes. Raises Stopped if the artist has stopped the render."""
    spp = SAMPLES[scene.pbrfit_preview.render_samples]
    background = "none" if scene.render.film_transparent else "light"
    images: list[NDArray[Any]] = []
    count = sum(len(item.frames) for item in passes)
    for item in passes:
        engine.update_stats("", tr(f"{item.name}, drawn by {source.name}"))
        frames: list[NDArray[Any]] = []
        for channel in item.frames:
            behind = background if channel == "shaded" else "none"
            done = sum(len(other.frames) for other in passes[: len(images)]) + len(frames)
            progress = RenderProgress(engine, done / count, 1.0 / count)
            frames.append(source.frame(camera, channel, 1 if channel == "depth" else spp, behind, progress))
        images.append(pass_of(item, frames))
    return images


def chosen_source(engine: bpy.types.RenderEngine, draw_with: str, scene: PreviewScene) -> BackendSource | GpuSource:
    """What draws: the backend if it is wanted and can be reached, else Blender's own GPU."""
    progress = RenderProgress(engine, 0.0, 0.0)
    if draw_with != GPU:
        try:
            return backend_source(scene, progress)
        except PbrFitError as error:
            close_final()
            if draw_with != AUTOMATIC:
                engine.report({"WARNING"}, tr_report(f"{error.cause} Blender's GPU draws instead."))
    return GpuSource(scene, progress)


def backend_source(scene: PreviewScene, progress: RenderProgress) -> BackendSource:
    """The connection for renders, with the scene set; it stays for all frames of an animation."""
    source = _sources.get("") or BackendSource()
    _sources[""] = source
    source.show(scene, progress)
    return source


class RenderProgress:
    """Reports a render's progress to Blender, and ends the render if the artist has stopped it."""

    def __init__(self, engine: bpy.types.RenderEngine, start: float, share: float) -> None:
        self._engine, self._start, self._share = engine, start, share

    def __call__(self, fraction: float) -> None:
        """Report the part of this step that is done, 0..1. Raises Stopped if the artist has stopped the render."""
        if self._engine.test_break():
            raise Stopped
        self._engine.update_progress(self._start + self._share * fraction)


def pass_of(item: Pass, frames: list[NDArray[Any]]) -> NDArray[Any]:
    """The values of a pass, float32 [h, w, channels], row 0 at the top, from its frames [h, w, 4]."""
    if item is DEPTH:
        return frames[0][..., :1]
    if item is NORMAL:
        # From 0..1 in the renderer's axes, times coverage, to -1..1 in Blender's.
        values = 2.0 * frames[0][..., :3] - frames[0][..., 3:]
        return rotate_to_blender(values)
    if item is ORM:
        return np.concatenate([frame[..., :1] for frame in frames], axis=-1)
    return np.concatenate([to_scene_linear(frames[0][..., :3]), frames[0][..., 3:]], axis=-1)


def write_result(
    engine: bpy.types.RenderEngine, layer: str, camera: ImageCamera, passes: list[Pass], images: list[NDArray[Any]]
) -> None:
    """Hand the passes to Blender."""
    result = engine.begin_result(0, 0, *camera.size, layer=layer)
    try:
        written = {found.name: found for found in result.layers[0].passes}
        for item, image in zip(passes, images, strict=True):
            values = np.ascontiguousarray(image[::-1], dtype=np.float32).reshape(-1)
            written[item.name].rect.foreach_set(values)
    finally:
        engine.end_result(result)


def close_final() -> None:
    """End the connection that renders use."""
    for source in _sources.values():
        source.close()
    _sources.clear()
    _worlds.close()
