"""Runs in the Blender with a window: makes a large job, presses the button, and times everything PBRfit does on the
main thread."""

import json
import os
import sys
import threading
import time

import bpy
import numpy as np

EXTENSION = "bl_ext.user_default.pbrfit"
PROBE_SECONDS = 0.005
request = json.loads(sys.argv[-1])
calls: dict[str, list[float]] = {}
lock_waits: dict[str, list[float]] = {}
phase = "before"
finished = threading.Event()


def timed(name, function):
    """The function, its time noted under the phase of the fit it was called in."""

    def wrapper(*arguments, **named):
        key = f"{name}: {phase}" if name in {"poll", "panel"} else name
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            calls.setdefault(key, []).append(time.perf_counter() - began)

    return wrapper


def timed_draw(draw):
    """A panel's draw, timed. Blender looks how many arguments it takes."""
    measured = timed("panel", draw)
    return lambda self, context: measured(self, context)


def timed_execute(execute):
    """An operator's execute, timed."""
    measured = timed("Apply Now", execute)
    return lambda self, context: measured(self, context)


def probe():
    """A thread that wants Python's lock often: how long it waits is how long Blender's main thread would."""
    while not finished.is_set():
        began = time.perf_counter()
        time.sleep(PROBE_SECONDS)
        lock_waits.setdefault(phase, []).append(time.perf_counter() - began - PROBE_SECONDS)


def install():
    """Install the extension, and say which Python runs the backend."""
    bpy.ops.extensions.package_install_files(filepath=request["extension"], repo="user_default", enable_on_install=True)
    bpy.context.preferences.addons[EXTENSION].preferences.backend_python = request["python"]


def sphere_mesh(triangles):
    """A UV sphere of about so many triangles, with one UV map; Blender's own operator takes minutes for a million."""
    rings = int((triangles / 4) ** 0.5)
    segments = 2 * rings
    v, u = np.meshgrid(np.linspace(0.001, 0.999, rings + 1), np.linspace(0.0, 1.0, segments + 1), indexing="ij")
    azimuth, polar = 2.0 * np.pi * u, np.pi * v
    points = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), -np.cos(polar)], axis=-1)
    corner = np.arange(rings)[:, None] * (segments + 1) + np.arange(segments)
    quads = np.stack([corner, corner + 1, corner + segments + 2, corner + segments + 1], axis=-1).reshape(-1)
    mesh = bpy.data.meshes.new("Sphere")
    mesh.vertices.add((rings + 1) * (segments + 1))
    mesh.vertices.foreach_set("co", points.astype(np.float32).reshape(-1))
    mesh.loops.add(len(quads))
    mesh.loops.foreach_set("vertex_index", quads.astype(np.int32))
    mesh.polygons.add(len(quads) // 4)
    mesh.polygons.foreach_set("loop_start", np.arange(0, len(quads), 4, dtype=np.int32))
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)[quads].astype(np.float32)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv.reshape(-1))
    mesh.update(calc_edges=True)
    return mesh


def make_scene():
    """A sphere of about a million triangles, alone, in the light of a forest; returns how many they are."""
    scene = bpy.context.scene
    bpy.data.batch_remove(list(bpy.data.objects))
    sphere = bpy.data.objects.new("Sphere", sphere_mesh(request["triangles"]))
    scene.collection.objects.link(sphere)
    bpy.context.view_layer.objects.active = sphere
    sphere.select_set(True)
    sphere.data.materials.append(bpy.data.materials["Material"])
    texture = scene.world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    texture.image = bpy.data.images.load(os.path.join(folder, "forest.exr"))
    scene.world.node_tree.links.new(texture.outputs["Color"], scene.world.node_tree.nodes["Background"].inputs["Color"])
    settings = scene.pbrfit
    settings.quality = "draft"
    settings.resolution, settings.view_size, settings.samples = request["resolution"], 64, 1
    settings.views, settings.held_out_views = request["views"], 1
    bpy.ops.wm.save_as_mainfile(filepath=request["file"])
    return len(sphere.data.loops) - 2 * len(sphere.data.polygons)


def wrap():
    """Time what Blender calls, and the parts of the two that are allowed to take longer."""
    from bl_ext.user_default.pbrfit.preflight import checks
    from bl_ext.user_default.pbrfit.session import assigning, prepare, session
    from bl_ext.user_default.pbrfit.ui import operators, panels

    session.start_session = timed("export, all of it", session.start_session)
    checks.all_findings = timed("export: checks", checks.all_findings)
    prepare.save_copy = timed("export: copy of the file", prepare.save_copy)
    assigning.push_undo = timed("step of undo", assigning.push_undo)
    operators.poll_session = timed("poll", operators.poll_session)
    operators.PBRFIT_OT_apply_now.execute = timed_execute(operators.PBRFIT_OT_apply_now.execute)
    for item in vars(panels).values():
        if isinstance(item, type) and issubclass(item, bpy.types.Panel) and "draw" in vars(item):
            item.draw = timed_draw(item.draw)


def follow():
    """Keep the phase, and write the result at the end."""
    global phase
    from bl_ext.user_default.pbrfit.session import session

    status = session.current().status
    if status.state == "fitting" and phase != "fitting":
        request["fitting_since"] = time.monotonic()
    phase = status.state
    if phase == "fitting" and time.monotonic() > request["fitting_since"] + request["fit_seconds"]:
        request["fit_seconds"] = float("inf")
        bpy.ops.pbrfit.apply_now()
    if not status.finished:
        return PROBE_SECONDS
    finished.set()
    summary = {
        "state": phase,
        "message": session.current().status.message,
        "triangles": request["triangles_made"],
        "resolution": request["resolution"],
        "views": request["views"] + 1,
        "bytes": {name: len(data) for name, data in session.current().result.files.items()},
        "blender": bpy.app.version_string,
        "seconds": {name: round(value, 3) for name, value in session.current().result.seconds.items()},
        "calls_ms": {name: statistics(values) for name, values in sorted(calls.items())},
        "waits_for_the_lock_ms": {name: statistics(values) for name, values in lock_waits.items()},
    }
    with open(request["state"] + ".part", "w") as file:
        json.dump(summary, file, indent=1)
    os.replace(request["state"] + ".part", request["state"])
    return None


def statistics(seconds):
    """How many, and their median, 99th percentile and longest in milliseconds."""
    values = 1000.0 * np.array(seconds)
    return {
        "calls": len(values),
        "median": round(float(np.median(values)), 2),
        "percentile_99": round(float(np.percentile(values, 99)), 2),
        "longest": round(float(values.max()), 2),
    }


def start():
    """Install, make the scene, show the tab, and press the button."""
    install()
    wrap()
    request["triangles_made"] = make_scene()
    area = next(item for item in bpy.context.window_manager.windows[0].screen.areas if item.type == "VIEW_3D")
    area.spaces[0].show_region_ui = True
    area.tag_redraw()
    bpy.app.timers.register(press, first_interval=3.0)


def press():
    """The click, once the sidebar is drawn."""
    window = bpy.context.window_manager.windows[0]
    area = next(item for item in window.screen.areas if item.type == "VIEW_3D")
    sidebar = next(item for item in area.regions if item.type == "UI")
    sidebar.active_panel_category = "PBRfit"
    threading.Thread(target=probe, daemon=True).start()
    with bpy.context.temp_override(window=window, area=area, region=sidebar):
        bpy.ops.pbrfit.optimize()
    bpy.app.timers.register(follow, first_interval=PROBE_SECONDS)


bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(start, first_interval=1.0)
