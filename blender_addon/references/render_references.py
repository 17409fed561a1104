# SPDX-License-Identifier: GPL-3.0-or-later
"""Render objects of a .blend with Cycles, alone in their world, from a list of cameras. Runs in a separate Blender.

    python render_references.py plan.json                                      (bpy installed as a Python module)
    blender --background --factory-startup --python render_references.py -- plan.json

The plan is JSON:

- ``blend``, ``scene``, ``objects`` (names; or ``object``: one name): what to render; ``output``: the folder for files
- ``views``: list of {``index``, ``matrix_world`` (4x4, of the Blender camera), ``fov`` (radians), ``seed``,
  and optionally its own ``clip_start``, ``clip_end`` and ``samples``}
- optional ``size`` (256 px), ``samples`` (16), ``threads`` (0: all cores)
- optional ``world_hdri``: an image in place of the world
- optional ``environment``: [width, height]: first render the world itself, in this size
- optional ``world``: the name of a world, in place of ``scene`` and ``objects``, to render only that
- optional ``plans``: further plans, which this process does afterwards, one after the other

Files, each of which appears complete (written under another name, then renamed):

- ``view_0003.npy``: float32 [size, size, 4], linear Rec.709, premultiplied alpha, row 0 at the top
- ``environment.npy``: float32 [height, width, 3], linear, equirectangular in Blender's mapping, row 0 at the top

Each result is a line on stdout, the word PBRFIT and JSON: {"environment": file}, {"view": index, "file": name,
"seconds": s}, {"error": {"cause", "cure"}}, {"done": true}; lines of further plans have "plan" (1, 2, ...). All other
output of Blender goes to stderr.

The .blend is never saved. The objects are in a scene of their own, at their viewport subdivision level, as they are
exported: without other objects and lamps, compositing, simplify, render borders and film exposure. Displacement is
rendered as bump.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

Plan = dict[str, Any]

CYCLES_SETTINGS_KEPT = (
    "max_bounces",
    "diffuse_bounces",
    "glossy_bounces",
    "transmission_bounces",
    "volume_bounces",
    "transparent_max_bounces",
    "caustics_reflective",
    "caustics_refractive",
)


class PlanError(Exception):
    """A plan that cannot be rendered: what is wrong (cause) and what to do about it (cure)."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} {cure}")
        self.cause = cause
        self.cure = cure


def render_plan(plan: Plan, report: Callable[[dict[str, Any]], None]) -> None:
    """Render the environment and the views of one plan; call ``report`` with a dict for each finished file.

    Raises ``PlanError`` if the file, scene, object or HDRI of the plan does not exist, or a file cannot be written.
    """
    _open(plan)
    output = Path(plan["output"])
    output.mkdir(parents=True, exist_ok=True)
    if plan.get("world"):
        world = bpy.data.worlds[plan["world"]]
    else:
        scene, targets = _find(plan)
        world = _hdri_world(plan["world_hdri"]) if plan.get("world_hdri") else scene.world
    if plan.get("environment"):
        width, height = plan["environment"]
        _save_array(output / "environment.npy", render_world(world, width, height))
        report({"environment": "environment.npy"})
    if not plan["views"]:
        return
    stage = _stage(scene, targets, world, plan)
    for view in plan["views"]:
        start = time.perf_counter()
        pixels = _render_view(stage, targets, view, plan.get("samples", 16))
        name = f"view_{view['index']:04d}.npy"
        _save_array(output / name, pixels)
        report({"view": view["index"], "file": name, "seconds": round(time.perf_counter() - start, 3)})


def render_world(world: bpy.types.World | None, width: int, height: int) -> NDArray[np.float32]:
    """The world's light, float32 [height, width, 3], equirectangular, row 0 at the top; black without a world.

    "Is Camera Ray" counts as no: if a world shows one thing to the camera and lights with another, this is the light.
    """
    if world is None:
        return np.zeros((height, width, 3), np.float32)
    stage = bpy.data.scenes.new("PBRfit world")
    try:
        _plain_cycles(stage, samples=1, threads=0)
        stage.world = _world_of_light(world)
        stage.cycles.filter_width = 0.01
        stage.render.film_transparent = False
        stage.render.resolution_x, stage.render.resolution_y = width, height
        camera = _camera(stage)
        camera.data.type = "PANO"
        panorama = camera.data if hasattr(camera.data, "panorama_type") else camera.data.cycles
        panorama.panorama_type = "EQUIRECTANGULAR"
        camera.rotation_euler = [np.radians(90.0), 0.0, np.radians(-90.0)]
        return np.ascontiguousarray(_render(stage)[..., :3])
    finally:
        bpy.data.scenes.remove(stage)


def _open(plan: Plan) -> None:
    if not Path(plan["blend"]).is_file():
        raise PlanError(f"{plan['blend']} does not exist.", "Give the path of a saved .blend file.")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(plan["blend"]), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise PlanError(
            f"Blender {bpy.app.version_string} cannot open {plan['blend']}: {error}",
            "Use a Blender at least as new as the one that saved the file.",
        ) from error


def _find(plan: Plan) -> tuple[bpy.types.Scene, list[bpy.types.Object]]:
    scene = bpy.data.scenes.get(plan["scene"])
    if scene is None:
        raise PlanError(
            f"There is no scene {plan['scene']!r} in {plan['blend']}.", f"It has: {_names(bpy.data.scenes)}."
        )
    targets: list[bpy.types.Object] = []
    for name in plan["objects"] if "objects" in plan else [plan["object"]]:
        target = scene.objects.get(name)
        if target is None:
            raise PlanError(
                f"There is no object {name!r} in the scene {scene.name!r}.", f"It has: {_names(scene.objects)}."
            )
        targets.append(target)
    return scene, targets


def _names(things: Iterable[bpy.types.ID]) -> str:
    return ", ".join(sorted(thing.name for thing in things)) or "nothing"


def _stage(
    scene: bpy.types.Scene, targets: list[bpy.types.Object], world: bpy.types.World | None, plan: Plan
) -> bpy.types.Scene:
    """A new scene with only the targets, the world and a camera, and plain, unbiased settings of Cycles."""
    stage = bpy.data.scenes.new("PBRfit references")
    _plain_cycles(stage, samples=plan.get("samples", 16), threads=plan.get("threads", 0))
    for name in CYCLES_SETTINGS_KEPT:
        setattr(stage.cycles, name, getattr(scene.cycles, name))
    stage.world = world
    stage.render.film_transparent = True
    stage.render.use_persistent_data = True
    stage.render.resolution_x = stage.render.resolution_y = plan.get("size", 256)
    for target in targets:
        stage.collection.objects.link(target)
        target.hide_render = False
        target.visible_camera = True
        target.is_holdout = False
        target.is_shadow_catcher = False
    _show_as_exported()
    _camera(stage)
    stage.frame_set(scene.frame_current, subframe=scene.frame_subframe)
    return stage


def _show_as_exported() -> None:
    """Make the render geometry equal to the viewport's, which the exporter reads."""
    for thing in bpy.data.objects:
        for modifier in thing.modifiers:
            modifier.show_render = modifier.show_viewport
            if modifier.type in {"SUBSURF", "MULTIRES"}:
                modifier.render_levels = modifier.levels
    for material in bpy.data.materials:
        material.displacement_method = "BUMP"


def _plain_cycles(stage: bpy.types.Scene, samples: int, threads: int) -> None:
    """Make every pixel the mean of ``samples`` paths over its own square: no wider filter, denoiser, clamp or early stop."""
    stage.render.engine = "CYCLES"
    cycles = stage.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.time_limit = 0.0
    cycles.sample_clamp_direct = 0.0
    cycles.sample_clamp_indirect = 0.0
    cycles.pixel_filter_type = "BOX"
    cycles.filter_width = 1.0
    cycles.film_exposure = 1.0
    cycles.use_auto_tile = False
    render = stage.render
    render.threads_mode = "FIXED" if threads else "AUTO"
    if threads:
        render.threads = threads
    render.resolution_percentage = 100
    render.use_compositing = False
    render.use_sequencer = False
    render.use_motion_blur = False
    render.dither_intensity = 0.0
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "OPEN_EXR"
    settings.color_mode = "RGBA"
    settings.color_depth = "32"
    settings.exr_codec = "NONE"
    settings.color_management = "OVERRIDE"
    settings.linear_colorspace_settings.name = "Linear Rec.709"


def _camera(stage: bpy.types.Scene) -> bpy.types.Object:
    camera = bpy.data.objects.new("PBRfit camera", bpy.data.cameras.new("PBRfit camera"))
    stage.collection.objects.link(camera)
    stage.camera = camera
    return camera


def _render_view(
    stage: bpy.types.Scene, targets: list[bpy.types.Object], view: dict[str, Any], samples: int
) -> NDArray[np.float32]:
    camera = stage.camera
    camera.matrix_world = Matrix(view["matrix_world"])
    camera.data.sensor_fit = "HORIZONTAL"
    camera.data.angle = view["fov"]
    corners = [target.matrix_world @ Vector(corner) for target in targets for corner in target.bound_box]
    farthest = max((corner - camera.matrix_world.translation).length for corner in corners)
    camera.data.clip_start = view.get("clip_start", farthest * 1e-3)
    camera.data.clip_end = view.get("clip_end", farthest * 1e3)
    stage.cycles.seed = view.get("seed", 0)
    stage.cycles.samples = view.get("samples", samples)
    return _render(stage)


def _render(stage: bpy.types.Scene) -> NDArray[np.float32]:
    """Render the scene's camera to float32 [height, width, 4], linear Rec.709, premultiplied, row 0 at the top."""
    # Without a window the pixels of a "Render Result" cannot be read, so a file carries them.
    with tempfile.TemporaryDirectory(prefix="pbrfit-") as folder:
        path = os.path.join(folder, "render.exr")
        stage.render.filepath = path
        bpy.ops.render.render(scene=stage.name, write_still=True)
        image = bpy.data.images.load(path)
        try:
            image.colorspace_settings.name = "Non-Color"
            width, height = image.size
            pixels = np.empty(width * height * 4, np.float32)
            image.pixels.foreach_get(pixels)
        finally:
            bpy.data.images.remove(image)
    return np.ascontiguousarray(pixels.reshape(height, width, 4)[::-1])


def _hdri_world(path: str) -> bpy.types.World:
    if not Path(path).is_file():
        raise PlanError(f"The HDRI {path} does not exist.", "Give the path of an .exr or .hdr image.")
    world = bpy.data.worlds.new("PBRfit HDRI")
    if not world.use_nodes:
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    texture = nodes.new("ShaderNodeTexEnvironment")
    texture.image = bpy.data.images.load(path)
    background = nodes.new("ShaderNodeBackground")
    output = nodes.new("ShaderNodeOutputWorld")
    links.new(texture.outputs["Color"], background.inputs["Color"])
    links.new(background.outputs["Background"], output.inputs["Surface"])
    return world


def _world_of_light(world: bpy.types.World) -> bpy.types.World:
    """A copy of the world that ignores its ray visibility, and in which every "Is Camera Ray" is 0."""
    world = world.copy()
    world.cycles_visibility.camera = True
    if world.use_nodes and world.node_tree is not None:
        _forget_the_camera(world.node_tree)
    return world


def _forget_the_camera(tree: bpy.types.NodeTree) -> None:
    for node in tree.nodes:
        if node.type == "LIGHT_PATH":
            for link in list(node.outputs["Is Camera Ray"].links):
                socket = link.to_socket
                tree.links.remove(link)
                zero = tree.nodes.new("ShaderNodeValue").outputs[0]
                zero.default_value = 0.0
                tree.links.new(zero, socket)
        elif node.type == "GROUP" and node.node_tree is not None:
            node.node_tree = node.node_tree.copy()
            _forget_the_camera(node.node_tree)


def _save_array(path: Path, array: NDArray[np.float32]) -> None:
    partial = path.with_suffix(".part")
    try:
        with open(partial, "wb") as file:
            np.save(file, array)
        os.replace(partial, path)
    except OSError as error:
        raise PlanError(
            f"Cannot write {path}: {error.strerror}.", "Free disk space or choose another folder."
        ) from error


def _own_stdout() -> TextIO:
    """Keep stdout for our lines and send Blender's output to stderr, since its buffered lines would break ours."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return ours


def main(arguments: list[str]) -> int:
    """Render the plan named by the only argument; 0: done, 1: error line printed, 2: usage, 3: nobody listens."""
    if len(arguments) != 1:
        print("usage: render_references.py plan.json", file=sys.stderr)
        return 2
    stdout = _own_stdout()

    def say(line: dict[str, Any], number: int = 0) -> None:
        mark = {"plan": number} if number else {}
        print("PBRFIT " + json.dumps({**line, **mark}), file=stdout, flush=True)

    try:
        plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        for number, part in enumerate([plan, *plan.get("plans", [])]):
            render_plan(part, partial(say, number=number))
        say({"done": True})
        return 0
    except BrokenPipeError:
        return 3
    except PlanError as error:
        say({"error": {"cause": error.cause, "cure": error.cure}})
    except Exception as error:
        cause = f"Rendering the references failed: {type(error).__name__}: {error}"
        say({"error": {"cause": cause, "cure": "Look at the log of the windowless Blender for what happened before."}})
    return 1


if __name__ == "__main__":
    status = main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:])
    sys.stderr.flush()
    # The work is done, and some versions of Blender hang or crash when Python ends.
    shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
    os._exit(status)
