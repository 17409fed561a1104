"""Runs in the Blender with a window, beside report_state.py: the state of a comparison, and how long its calls take."""

import itertools
import time

slowest = {}
FIRST_CALLS = 12  # in which shaders are compiled, and everything is read for the first time


def timed(owner, name):
    """Note in `slowest` how long the slowest call of a function takes: seconds, and those of them that this thread computes;
    of the first calls and of all later ones."""
    function = getattr(owner, name)
    if hasattr(function, "is_timed"):
        return
    count = itertools.count()

    def call(*arguments, **settings):
        start, computing = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments, **settings)
        finally:
            took = [round(time.perf_counter() - start, 4), round(time.thread_time() - computing, 4)]
            key = f"{name}, {'first' if next(count) < FIRST_CALLS else 'later'}"
            slowest[key] = [max(pair) for pair in zip(slowest.get(key, took), took, strict=True)]

    call.is_timed = True
    setattr(owner, name, call)


def comparison_state(area):
    """What a comparison shows, what it has changed in the view, and how long its slowest calls take.

    area: with the 3D view, or None.
    """
    from bl_ext.user_default.pbrfit.preview.gl import display, looks, renderer
    from bl_ext.user_default.pbrfit.preview.scene.baked_looks import baked_looks
    from bl_ext.user_default.pbrfit.wipe import comparison as comparison_module
    from bl_ext.user_default.pbrfit.wipe import pictures, wipe

    comparison, drawing = wipe.current(), wipe.drawing()
    space = area.spaces[0] if area is not None else None
    for owner, name in (
        (wipe, "_draw"),
        (wipe.Comparison, "tick"),
        (wipe.Comparison, "_collect"),
        (comparison_module, "display_table"),
        (pictures.Picture, "draw_more"),
        (renderer, "compiled"),
        (looks, "strip_texture"),
        (renderer, "light_texture"),
        (renderer, "mesh_batch"),
        (display.GlDisplay, "__init__"),
        (display.GlDisplay, "show"),
    ):
        timed(owner, name)
    found = {"shown": comparison is not None, "waiting": baked_looks().waiting, "slowest": dict(slowest)}
    if space is not None:
        region = next(item for item in area.regions if item.type == "WINDOW")
        data = space.region_3d
        found["view"] = {
            "overlays": space.overlay.show_overlays,
            "gizmos": space.show_gizmo,
            "shading": space.shading.type,
            "lens": round(space.lens, 3),
            "location": [round(value, 4) for value in data.view_location],
            "rotation": [round(value, 4) for value in data.view_rotation],
            "distance": round(data.view_distance, 4),
        }
        found["region"] = {name: getattr(region, name) for name in ("x", "y", "width", "height")}
    if comparison is not None and drawing is not None:
        render = comparison.render
        found |= {
            "divider": comparison.divider,
            "left": drawing.said[0],
            "right": drawing.said[1],
            "status": drawing.said[2],
            "more": comparison.more,
            "reference": comparison.steps.number,
            "errors": len(comparison.steps.errors),
            "lit": not comparison.lacks_light,
            "rendered": render is not None and render.done and render.image is not None,
        }
    return found
