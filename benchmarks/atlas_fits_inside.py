"""Runs in Blender for atlas_fits.py: fits the materials of a scene, each by itself or in an atlas, and renders both."""

import importlib
import json
import os
import sys
import time

request = json.loads(sys.argv[-1])
os.environ["BLENDER_USER_RESOURCES"] = request["folder"]
sys.path[0] = request["tests"]  # in place of this folder, whose looks.py is another one

import bpy  # noqa: E402
from support.blender.texel_scenes import corrected_db, rendered, slots_object, three_objects  # noqa: E402

EXTENSION = "bl_ext.user_default.pbrfit"


def main():
    """Fit, compare, and say what came out."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    things = [slots_object(5)] if request["scene"] == "five slots" else three_objects()
    own = rendered(things)
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    bpy.context.preferences.addons[EXTENSION].preferences.backend_python = request["backend_python"]
    settings = bpy.context.scene.pbrfit
    settings.start, settings.rounds = "GRAY", 0
    settings.quality = request["quality"]
    settings.views, settings.held_out_views = request["views"], 2
    settings.view_size, settings.samples = request["view_size"], request["samples"]
    settings.resolution = request["resolution"] * (request["factor"] if request["atlas"] else 1)
    if request["atlas"]:
        settings.map_sets = "OBJECT" if len(things) == 1 else "ALL"
        assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    began = time.perf_counter()
    assert bpy.ops.pbrfit.optimize() == {"FINISHED"}
    session = importlib.import_module(EXTENSION + ".session.session").current()
    while not session.poll().finished:
        time.sleep(0.05)
    assert session.status.state == "done", session.status.message
    materials = {slot.material.name for thing in things for slot in thing.material_slots}
    found = {
        "db": corrected_db(own, rendered(things)),
        "seconds": time.perf_counter() - began,
        "materials": len(materials),
    }
    print("FITTED " + json.dumps(found), flush=True)
    bpy.ops.preferences.addon_disable(module=EXTENSION)


main()
os._exit(0)  # some versions of Blender hang or crash when Python ends
