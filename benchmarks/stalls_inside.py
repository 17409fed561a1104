"""Runs in the Blender with a window: goes through a fit and the preview, and notes for how long nothing else could run."""

import importlib
import json
import os
import sys
import time
from pathlib import Path

import bpy
import gpu
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from window_scene import install, make_scene

EXTENSION = "bl_ext.user_default.pbrfit"
TICK_SECONDS = 0.005
IDLE_SECONDS = 4.0
SHOWN_SECONDS = 90.0
# What is timed: modules of the extension, and in each the functions and methods.
TIMED = {
    "session.session": ("start_session",),
    "session.assigning": ("Assigning.step", "push_undo"),
    "ui.operators": ("poll_session",),
    "preview.engine.hub": ("tick",),
    "preview.engine.lights": ("kept_light",),
    "preview.engine.viewport": ("Viewport.draw",),
    "preview.engine.connections": ("description",),
    "preview.gl.renderer": ("GlPreview.draw", "compiled", "mesh_batch", "light_texture"),
    "preview.gl.looks": ("strip_texture",),
    "preview.scene.collector": ("PreviewCollector.collect", "read_look"),
    "preview.scene.light": ("environment_of", "SimpleWorld.radiance"),
    "preview.scene.meshes": ("read_local",),
}
request = json.loads(sys.argv[-1])
calls = []  # (name, began, ended, seconds of them that the main thread had a processor), innermost first
gaps = []  # (phase, began, ended, seconds of them that the main thread had a processor)
last_tick, last_work = time.perf_counter(), time.thread_time()
assigning = []  # the maps that are put into the file, and what does it
phase = ""
since = time.monotonic()


def timed(name, function):
    """The function, which notes when it ran."""

    def wrapper(*arguments, **named):
        began, work = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            calls.append((name, began, time.perf_counter(), time.thread_time() - work))

    return wrapper


def finished_drawing(draw):
    """GlPreview.draw that waits for the GPU, so that the time counts as its own and not as Blender's next call's."""

    def wrapper(self, *arguments, **named):
        image = draw(self, *arguments, **named)
        image._framebuffer.read_color(0, 0, 1, 1, 4, 0, "FLOAT")
        return image

    return wrapper


def wrap():
    """Time what Blender calls of PBRfit, and what takes long in it."""
    for module_name, names in TIMED.items():
        module = importlib.import_module(f"{EXTENSION}.{module_name}")
        for name in names:
            *owners, attribute = name.split(".")
            owner = getattr(module, owners[0]) if owners else module
            function = getattr(owner, attribute)
            if name == "GlPreview.draw":
                function = finished_drawing(function)
            setattr(owner, attribute, timed(name, function))
    gpu.texture.from_image = timed("gpu.texture.from_image", gpu.texture.from_image)
    from bl_ext.user_default.pbrfit.ui import announcements, outcome, panels, running

    for module in (announcements, outcome, panels, running):
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, bpy.types.Panel) and "draw" in vars(item):
                item.draw = drawing(item.draw)


def drawing(draw):
    """A panel's draw, timed. Blender looks how many arguments it takes."""
    measured = timed("panel", draw)
    return lambda self, context: measured(self, context)


def enter(name):
    """Begin a phase, or stay in it."""
    global phase, since
    if name == phase:
        return
    phase, since = name, time.monotonic()


def tick():
    """Note the time since the last tick."""
    global last_tick, last_work
    now, work = time.perf_counter(), time.thread_time()
    gaps.append((phase, last_tick, now, work - last_work))
    last_tick, last_work = now, work
    return TICK_SECONDS


def view_3d():
    """The window, its 3D view, and the sidebar."""
    window = bpy.context.window_manager.windows[0]
    area = next(item for item in window.screen.areas if item.type == "VIEW_3D")
    return window, area, next(item for item in area.regions if item.type == "UI")


def press(operator):
    """Press a button of the sidebar."""
    window, area, sidebar = view_3d()
    with bpy.context.temp_override(window=window, area=area, region=sidebar):
        operator()


def is_drawn():
    """Whether the preview shows everything, as finely as it will, in its light."""
    from bl_ext.user_default.pbrfit.preview.engine import hub

    views = list(hub._hub.viewports) if hub._hub is not None else []
    return bool(views) and all(
        view._level + 1 == len(view._levels) and not view.lacks_light and view._is_complete and view._scene.parts
        for view in views
    )


def follow():
    """Go from phase to phase."""
    from bl_ext.user_default.pbrfit.session import session

    spent = time.monotonic() - since
    if phase == "idle" and spent > IDLE_SECONDS:
        if request["preview"]:
            enter("first Show Preview")
            press(bpy.ops.pbrfit.show_preview)
        else:
            go_on()
    elif phase.startswith("first Show Preview"):
        if (spent > 3.0 and is_drawn()) or spent > SHOWN_SECONDS:
            if session.current() is None and not assigning:
                go_on()
            else:
                write(session.current())
                return None
    elif (
        phase == "the maps are shown"
        and spent > 3.0
        and (is_drawn() or not request["preview"] or spent > SHOWN_SECONDS)
    ):
        if request["preview"]:
            write(session.current())
            return None
        enter("first Show Preview, of the fitted maps")
        press(bpy.ops.pbrfit.show_preview)
    elif session.current() is not None and phase != "the maps are shown":
        state = session.current().status.state
        if session.current().status.finished:
            enter("the maps are shown")
        elif state != phase:
            enter(state)
        elif state == "fitting" and spent > request["fit_seconds"] and not request.get("applied"):
            request["applied"] = True
            press(bpy.ops.pbrfit.apply_now)
    return 0.02


def go_on():
    """The click on Optimize Materials; or, with maps from nowhere, only what comes before and after the fit."""
    enter("the click")
    if request["fit"]:
        press(bpy.ops.pbrfit.optimize)
        return
    from bl_ext.user_default.pbrfit.session import assigning as module
    from bl_ext.user_default.pbrfit.session import prepare

    queue = prepare.prepare_fits(bpy.context, prepare.new_folder(), lambda _fraction: None)
    for group in queue:
        several = len(group.plan.sets) > 1
        prefixes = [f"{number}/" if several else "" for number in range(len(group.plan.sets))]
        group.result.files = {f"{prefix}{name}": data for prefix in prefixes for name, data in request["maps"].items()}
        group.result.metrics = {"sets": [{"samples": 1} for _ in prefixes]}
    assigning.append(module.Assigning(list(queue), "Optimize Materials"))
    bpy.app.timers.register(assign, first_interval=0.5)


def assign():
    """A slice of the assignment, as the session does it."""
    enter("creating the material")
    if not assigning[0].step():
        return 0.02
    enter("the maps are shown")
    return None


def some_maps(resolution):
    """Maps as files: smooth noise, which compresses as maps do."""
    rng, found = np.random.default_rng(0), {}
    for name in ("kd", "orm", "normal"):
        coarse = rng.random((resolution // 16, resolution // 16, 4)).astype(np.float32)
        pixels = np.repeat(np.repeat(coarse, 16, axis=0), 16, axis=1)
        pixels += rng.normal(0.0, 0.01, pixels.shape).astype(np.float32)
        pixels[..., 3] = 1.0
        image = bpy.data.images.new(name, resolution, resolution)
        image.pixels.foreach_set(pixels.ravel())
        image.pack()
        found[f"{name}.png"] = bytes(image.packed_file.data)
        bpy.data.images.remove(image)
    return found


def write(current):
    """Write the result: for each phase its longest gap, and what of PBRfit's ran in it."""
    phases = {}
    for name in dict.fromkeys(item[0] for item in gaps):
        own = [item for item in gaps if item[0] == name]
        hardest = max(own, key=lambda item: item[3])
        inside = {}
        for called, began, ended, worked in calls:
            if hardest[1] <= began and ended <= hardest[2]:
                inside[called] = inside.get(called, 0.0) + worked
        waits = sorted((item[2] - item[1] for item in own), reverse=True)
        phases[name] = {
            "seconds": round(max(item[2] for item in own) - min(item[1] for item in own), 2),
            "longest_waits_ms": [milliseconds(wait) for wait in waits[:5]],
            "waits_over_100_ms": sum(wait > 0.1 for wait in waits),
            "most_work_ms": milliseconds(hardest[3]),
            "work_over_100_ms": sum(item[3] > 0.1 for item in own),
            "of_that_in_pbrfit_ms": {key: milliseconds(value) for key, value in inside.items() if value > 0.001},
        }
    longest_calls = {}
    for called, _, _, worked in calls:
        longest_calls[called] = max(longest_calls.get(called, 0.0), worked)
    found = {
        "message": current.status.message if current is not None else "maps from nowhere were assigned",
        "job": {name: request[name] for name in ("triangles", "resolution", "materials", "views", "preview", "fit")},
        "blender": bpy.app.version_string,
        "renderer": gpu.platform.renderer_get(),
        "phases": phases,
        "most_work_of_one_call_ms": {key: milliseconds(value) for key, value in sorted(longest_calls.items())},
    }
    with open(request["state"] + ".part", "w") as file:
        json.dump(found, file, indent=1)
    os.replace(request["state"] + ".part", request["state"])


def milliseconds(seconds):
    """For the record."""
    return round(1000.0 * seconds, 1)


def start():
    """Install, make the scene, show the tab."""
    install(request)
    wrap()
    make_scene(request)
    if not request["fit"]:
        request["maps"] = some_maps(request["resolution"])
    _, area, _ = view_3d()
    area.spaces[0].show_region_ui = True
    area.tag_redraw()
    bpy.app.timers.register(begin, first_interval=3.0)


def begin():
    """Once the sidebar is drawn."""
    global last_tick, last_work
    _, _, sidebar = view_3d()
    sidebar.active_panel_category = "PBRfit"
    last_tick, last_work = time.perf_counter(), time.thread_time()
    enter("idle")
    bpy.app.timers.register(tick)
    bpy.app.timers.register(follow)


bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(start, first_interval=1.0)
