"""Runs in the Blender with a window: show the add-on's preferences, press Check Backend, and report the outcome.

Nothing polls but the add-on's own timer.
"""

import json
import sys
from pathlib import Path

import bpy

EXTENSION = "bl_ext.user_default.pbrfit"
LOOK_SECONDS = 0.5
request = json.loads(sys.argv[-1])
pythons = list(request["pythons"])
told = []


def show():
    """The add-on's preferences in the largest editor."""
    bpy.ops.extensions.package_install_files(filepath=request["extension"], repo="user_default", enable_on_install=True)
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    areas = bpy.context.window_manager.windows[0].screen.areas
    max(areas, key=lambda area: area.width * area.height).ui_type = "PREFERENCES"
    preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "PBRfit"
    bpy.ops.preferences.addon_expand(module=EXTENSION)
    bpy.app.timers.register(step, first_interval=LOOK_SECONDS)


def step():
    """Check one backend after the other; then write what was found and quit."""
    state = sys.modules[f"{EXTENSION}.setup.state"]
    if state.check() is not None:
        return LOOK_SECONDS
    if state.report() is not None:
        told.append({"works": state.report().works, "lines": [line.text for line in state.report().lines]})
        state.close_check()
    if not pythons:
        Path(request["answer"]).write_text(json.dumps(told))
        bpy.ops.wm.quit_blender()
        return None
    bpy.context.preferences.addons[EXTENSION].preferences.backend_python = pythons.pop(0)
    assert bpy.ops.pbrfit.check_backend() == {"FINISHED"}
    return LOOK_SECONDS


bpy.app.timers.register(show, first_interval=1.0)
