# SPDX-License-Identifier: GPL-3.0-or-later
"""Render an object for the report as the artist sees it: in the file that it is in, in its own scene, with Cycles.

    python judge.py plan.json                                    (bpy installed as a Python module)
    blender --background --factory-startup --python judge.py -- plan.json

The report compares the artist's file with the fitted one. If both were rendered on the stage of the references, it could
not see what this stage loses. So this script shares no code with the references and the export, and it changes as little
as it can: frame, simplify, drivers, custom properties, world and the scene's camera stay what they are. What the object
emits (instances, particles, hair) is seen. Only the other objects and their light are left out; an object that its parent
shows as instances is shown at its own place. The file is never saved.

The plan is JSON:

- ``blend``, ``scene``, ``view_layer``, ``object``: names of what to render; ``output``: the folder for files
- ``size`` (pixels), ``samples``, and optionally ``threads`` (0: all cores)
- ``views``: list of {``index``, ``matrix_world`` (4x4, of the Blender camera), ``fov`` (radians), ``clip_start``,
  ``clip_end``}
- ``lights``: {name: the path of an HDRI in place of the world, or null for the own world}
- ``seeds``: whole numbers; each view is rendered once in each light with each seed
- optional ``plans``: further plans, which this process does afterwards

``LIGHT_SEED_INDEX.npy`` (as ``heldout_900001_0003.npy``): float32 [size, size, 4], linear Rec.709, premultiplied alpha,
row 0 at the top. Each is a line on stdout, the word PBRFIT and JSON: {"file": name}; then {"done": true} or
{"error": {"cause", "cure"}}. All other output of Blender goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from mathutils import Color, Matrix
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .script import own_stdout, run
else:  # this file runs as a script, without its package
    sys.path.insert(0, str(Path(__file__).parent))
    from script import own_stdout, run

Plan = dict[str, Any]

CYCLES_SETTINGS = {
    "device": "CPU",
    "use_adaptive_sampling": False,
    "use_denoising": False,
    "use_guiding": False,
    "use_fast_gi": False,
    "use_animated_seed": False,
    "use_sample_subset": False,
    "sample_offset": 0,
    "sampling_pattern": "TABULATED_SOBOL",
    "auto_scrambling_distance": False,
    "scrambling_distance": 1.0,
    "light_sampling_threshold": 0.0,
    "sample_clamp_direct": 0.0,
    "sample_clamp_indirect": 0.0,
    "time_limit": 0.0,
    "pixel_filter_type": "BOX",
    "filter_width": 1.0,
    "film_exposure": 1.0,
    "film_transparent_glass": False,
    "use_auto_tile": False,
    "use_camera_cull": False,
    "use_distance_cull": False,
}
"""Make every pixel the mean of independent paths over its own square."""

RENDER_SETTINGS = {
    "engine": "CYCLES",
    "film_transparent": True,
    "resolution_percentage": 100,
    "pixel_aspect_x": 1.0,
    "pixel_aspect_y": 1.0,
    "use_border": False,
    "use_crop_to_border": False,
    "use_multiview": False,
    "use_motion_blur": False,
    "use_compositing": False,
    "use_sequencer": False,
    "use_freestyle": False,
    "use_stamp": False,
    "use_single_layer": False,
    "use_file_extension": True,
    "use_persistent_data": True,
    "dither_intensity": 0.0,
}
OBJECT_SETTINGS = {
    "hide_render": False,
    "show_instancer_for_render": True,
    "visible_camera": True,
    "is_holdout": False,
    "is_shadow_catcher": False,
}
RAYS = ("camera", "diffuse", "glossy", "transmission", "volume_scatter", "shadow")


class PlanError(Exception):
    """A plan that cannot be rendered: what is wrong (cause) and what to do about it (cure)."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} {cure}")
        self.cause = cause
        self.cure = cure


def judge(plan: Plan, say: Callable[[dict[str, Any]], None]) -> None:
    """Render all views of one plan; call ``say`` for each finished file. Raises PlanError."""
    scene, layer, target = _open(plan)
    show_alone(scene, layer, target)
    set_up_render(scene, layer, plan["size"], plan["samples"], plan.get("threads", 0))
    output = Path(plan["output"])
    output.mkdir(parents=True, exist_ok=True)
    camera = bpy.data.objects.new("PBRfit judge", bpy.data.cameras.new("PBRfit judge"))
    for light, hdri in plan["lights"].items():
        if hdri is not None:
            scene.world = _hdri_world(hdri)
            if getattr(layer, "world_override", None) is not None:
                layer.world_override = scene.world
        for seed in plan["seeds"]:
            for view in plan["views"]:
                _aim(camera, view)
                _set(scene.cycles, "seed", seed + 10 * view["index"])
                name = f"{light}_{seed}_{view['index']:04d}.npy"
                np.save(output / name, _render(scene, layer, camera))
                say({"file": name})


def show_alone(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, target: bpy.types.Object) -> None:
    """Leave only ``target`` in the view layer, visible in renders.

    The other objects are not hidden one by one: an instance of a collection, or what particles show, would be hidden with
    them. They leave the view layer with their collections. What the object needs of them (modifiers, drivers, the scene's
    camera) is evaluated all the same.
    """
    kept = [target, *_needed_in_the_layer(layer, target)]
    for child in _all_children(layer.layer_collection):
        child.exclude = True
    for other in list(scene.collection.objects):
        scene.collection.objects.unlink(other)
    collection = bpy.data.collections.new("PBRfit judge")
    scene.collection.children.link(collection)
    for thing in kept:
        collection.objects.link(thing)
    for name, value in OBJECT_SETTINGS.items():
        _set(target, name, value)
    # What an ancestor shows on its vertices or faces is shown only there. The fit is made of the object at its own place.
    parent = target.parent
    while parent is not None:
        if parent.instance_type in {"VERTS", "FACES"}:
            _set(parent, "instance_type", "NONE")
        parent = parent.parent
    # A material for all objects would show neither the artist's materials nor the fitted ones.
    layer.material_override = None


def set_up_render(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, size: int, samples: int, threads: int = 0
) -> None:
    """Make renders of the view layer plain: square, in a transparent film, unbiased, as floats of the scene's linear space."""
    for name, value in RENDER_SETTINGS.items():
        _set(scene.render, name, value)
    for name, value in {**CYCLES_SETTINGS, "samples": samples}.items():
        _set(scene.cycles, name, value)
    for name in ("resolution_x", "resolution_y"):
        _set(scene.render, name, size)
    _set(scene.render, "threads_mode", "FIXED" if threads else "AUTO")
    if threads:
        _set(scene.render, "threads", threads)
    for other in scene.view_layers:
        other.use = other == layer
    layer.samples = 0
    layer.use_solid = True
    layer.use_pass_combined = True
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "OPEN_EXR"
    settings.color_mode = "RGBA"
    settings.color_depth = "32"
    settings.exr_codec = "NONE"
    settings.color_management = "OVERRIDE"
    settings.linear_colorspace_settings.name = _scene_linear()


def _open(plan: Plan) -> tuple[bpy.types.Scene, bpy.types.ViewLayer, bpy.types.Object]:
    """Open the file in the plan's scene and view layer; returns both and the object."""
    try:
        bpy.ops.wm.open_mainfile(filepath=plan["blend"], load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise PlanError(
            f"Blender {bpy.app.version_string} cannot open {plan['blend']} for the report: {str(error).strip()}",
            "Run the command again.",
        ) from error
    # A linked scene or object may have the same name as the file's own.
    scene = bpy.data.scenes.get((plan["scene"], None))
    layer = None if scene is None else scene.view_layers.get(plan["view_layer"])
    named = [] if scene is None else [thing for thing in scene.objects if thing.name == plan["object"]]
    named.sort(key=lambda thing: thing.library is not None)
    if scene is None or layer is None or not named:
        raise PlanError(
            f"{plan['blend']} has no object {plan['object']!r} in the scene {plan['scene']!r}, view layer "
            f"{plan['view_layer']!r}, any more: the report cannot show it.",
            "Leave the file as it is while the command runs, and run it again.",
        )
    window = bpy.context.window_manager.windows[0]
    window.scene = scene
    window.view_layer = layer
    return scene, layer, named[0]


def _needed_in_the_layer(layer: bpy.types.ViewLayer, target: bpy.types.Object) -> Iterator[bpy.types.Object]:
    """The other objects that change the target only as members of its view layer.

    Those are the children that it shows on its vertices or faces, and what moves its particles. The latter are made
    invisible, and shine on nothing.
    """
    children = set(target.children_recursive) if target.instance_type in {"VERTS", "FACES"} else set()
    for thing in layer.objects:
        if thing == target:
            continue
        if thing in children:
            yield thing
        elif not thing.hide_render and _moves_particles(thing):
            for ray in RAYS:
                _set(thing, f"visible_{ray}", False)
            yield thing


def _moves_particles(thing: bpy.types.Object) -> bool:
    has_field = thing.field is not None and thing.field.type != "NONE"
    return has_field or (thing.collision is not None and thing.collision.use)


def _all_children(collection: bpy.types.LayerCollection) -> Iterator[bpy.types.LayerCollection]:
    for child in collection.children:
        yield child
        yield from _all_children(child)


def _set(owner: Any, name: str, value: object) -> None:
    """Set a property where this Blender has it, and keep drivers and animation from setting it back.

    A property that has the value already is left alone: writing to an object starts its particles again.
    """
    if name not in owner.bl_rna.properties:
        return
    path = owner.path_from_id(name)
    animation = owner.id_data.animation_data
    for driver in [] if animation is None else list(animation.drivers):
        if driver.data_path == path:
            animation.drivers.remove(driver)
    # Of all actions: also strips of the NLA editor set properties.
    for action in [] if animation is None else bpy.data.actions:
        for curve in _curves(action):
            if curve.data_path == path:
                curve.mute = True
    if getattr(owner, name) != value:
        setattr(owner, name, value)


def _curves(action: bpy.types.Action) -> Iterator[bpy.types.FCurve]:
    if not hasattr(action, "layers"):  # before Blender 4.4
        yield from action.fcurves
        return
    for strip in (strip for layer in action.layers for strip in layer.strips):
        for bag in strip.channelbags:
            yield from bag.fcurves


def _aim(camera: bpy.types.Object, view: dict[str, Any]) -> None:
    camera.matrix_world = Matrix(view["matrix_world"])
    camera.data.sensor_fit = "HORIZONTAL"
    camera.data.angle = view["fov"]
    camera.data.clip_start, camera.data.clip_end = view["clip_start"], view["clip_end"]


def _render(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, camera: bpy.types.Object) -> NDArray[np.float32]:
    """Float32 [size, size, 4], linear Rec.709, premultiplied alpha, row 0 at the top.

    ``camera`` becomes the local camera of a 3D view, so that the scene keeps its own: geometry may depend on that.
    """
    window = bpy.context.window_manager.windows[0]
    area = next((area for area in window.screen.areas if area.type == "VIEW_3D"), window.screen.areas[0])
    area.type = "VIEW_3D"
    space = area.spaces.active
    space.use_local_camera = True
    space.camera = camera
    # Without a window the pixels of a "Render Result" cannot be read, so a file carries them.
    with tempfile.TemporaryDirectory(prefix="pbrfit-") as folder:
        path = os.path.join(folder, "render.exr")
        scene.render.filepath = path
        with bpy.context.temp_override(window=window, area=area, scene=scene, view_layer=layer):
            bpy.ops.render.render(write_still=True)
        return _read_scene_linear(path)


def _read_scene_linear(path: str) -> NDArray[np.float32]:
    image = bpy.data.images.load(path)
    try:
        image.colorspace_settings.is_data = True
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    pixels = np.ascontiguousarray(pixels.reshape(height, width, 4)[::-1])
    units = [Color(unit) for unit in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    to_rec709 = np.array([unit.from_scene_linear_to_rec709_linear()[:] for unit in units], np.float32)
    if not np.allclose(to_rec709, np.eye(3), atol=1e-4):  # else the rounding of the matrix alone would be seen
        pixels[..., :3] = pixels[..., :3] @ to_rec709
    return pixels


def _scene_linear() -> str:
    """The name of the color space that renders are in; it differs from one configuration to the other."""
    image = bpy.data.images.new("PBRfit judge", 1, 1, float_buffer=True)
    name = str(image.colorspace_settings.name)
    bpy.data.images.remove(image)
    return name


def _hdri_world(path: str) -> bpy.types.World:
    world = bpy.data.worlds.new("PBRfit judge")
    if not world.use_nodes:
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    texture, background = nodes.new("ShaderNodeTexEnvironment"), nodes.new("ShaderNodeBackground")
    output = nodes.new("ShaderNodeOutputWorld")
    texture.image = bpy.data.images.load(path)
    links.new(texture.outputs["Color"], background.inputs["Color"])
    links.new(background.outputs["Background"], output.inputs["Surface"])
    return world


def main(arguments: list[str]) -> int:
    """Render the plan named by the only argument; 0: done, 1: error line printed, 2: usage, 3: nobody listens."""
    if len(arguments) != 1:
        print("usage: judge.py plan.json", file=sys.stderr)
        return 2
    stdout = own_stdout()

    def say(line: dict[str, Any]) -> None:
        print("PBRFIT " + json.dumps(line), file=stdout, flush=True)

    try:
        plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        for part in [plan, *plan.get("plans", [])]:
            judge(part, say)
        say({"done": True})
        return 0
    except BrokenPipeError:
        return 3
    except PlanError as error:
        say({"error": {"cause": error.cause, "cure": error.cure}})
    except Exception as error:
        cause = f"Rendering the report failed: {type(error).__name__}: {error}"
        say({"error": {"cause": cause, "cure": "Look at the log of the windowless Blender for what happened before."}})
    return 1


if __name__ == "__main__":
    run(main)
