"""Runs in the Blender with a window: show the add-on's preferences in all of it, and report what they and the setup say."""

import contextlib
import json
import sys
from pathlib import Path

import bpy

EXTENSION = "bl_ext.user_default.pbrfit"
REPORT_SECONDS = 0.05
request = json.loads(sys.argv[-1])
state = {"count": 0, "ready": False}


def show():
    """The add-on's preferences, in the whole window."""
    bpy.ops.extensions.package_install_files(filepath=request["extension"], repo="user_default", enable_on_install=True)
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    preferences.addons[EXTENSION].preferences.base_python = request["base_python"]
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda item: item.width * item.height)
    area.ui_type = "PREFERENCES"
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.screen.screen_full_area(use_hide_panels=True)
    preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "PBRfit"
    bpy.ops.preferences.addon_expand(module=EXTENSION)
    bpy.app.timers.register(report, first_interval=REPORT_SECONDS)


def shown_area():
    """The editor with the preferences, and its main region."""
    areas = bpy.context.window_manager.windows[0].screen.areas
    area = next(item for item in areas if item.type == "PREFERENCES")
    return area, next(item for item in area.regions if item.type == "WINDOW")


def hovered_operator():
    """The Python command of the button under the mouse, or an empty string."""
    area, region = shown_area()
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area, region=region):
        if not bpy.ops.ui.copy_python_command_button.poll():
            return ""
        bpy.ops.ui.copy_python_command_button()
        return bpy.context.window_manager.clipboard


def report():
    """Write the state for the test outside."""
    from bl_ext.user_default.pbrfit.setup import backend_environment
    from bl_ext.user_default.pbrfit.setup import state as setup_state

    _, region = shown_area()
    status = setup_state.setup_status()
    folder = backend_environment.environments_folder()
    state.update(
        count=state["count"] + 1,
        ready=state["count"] > 10,
        sidebar={"x": region.x, "y": region.y, "width": region.width, "height": region.height},
        hovered=hovered_operator(),
        online=bpy.app.online_access,
        setup=status.state if status is not None else "",
        message=status.message if status is not None else "",
        megabytes=status.megabytes if status is not None else 0.0,
        folder=sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [],
        torch=bpy.context.preferences.addons[EXTENSION].preferences.torch_choice,
        environment=str(backend_environment.environment_python() or ""),
    )
    part = Path(request["state"] + ".part")
    part.write_text(json.dumps(state))
    with contextlib.suppress(OSError):
        part.replace(request["state"])
    return REPORT_SECONDS


bpy.app.timers.register(show, first_interval=1.0)
