# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that set up and check the backend. The work is done in threads; a timer shows how far it is."""

from __future__ import annotations

import shutil

import bpy

from ..common.errors import PbrFitError
from ..common.redraw import redraw_preferences
from ..session import session
from ..settings.preferences import addon_preferences
from ..setup import state
from ..setup.backend_environment import environments_folder, forget
from ..setup.backend_process import stop_local_backend
from ..setup.torch_builds import torch_build
from ..translations.translate import tr, tr_report

POLL_SECONDS = 0.2
OFFLINE = "Allow Online Access is off: turn it on in Preferences > System > Network"


def poll_setup() -> float | None:
    """Blender's timer: take in what has finished, and show how far the rest is; None ends the timer."""
    busy = state.poll()
    redraw_preferences()
    return POLL_SECONDS if busy else None


def start_timer() -> None:
    """Poll the state from now on, also after another file is loaded; without a window the caller polls."""
    if not bpy.app.background and not bpy.app.timers.is_registered(poll_setup):
        bpy.app.timers.register(poll_setup, first_interval=POLL_SECONDS, persistent=True)


def stop_timer() -> None:
    """Stop polling."""
    if bpy.app.timers.is_registered(poll_setup):
        bpy.app.timers.unregister(poll_setup)


class PBRFIT_OT_check_backend(bpy.types.Operator):
    """Find out whether the backend works, and if not, why and what to do. It takes some seconds; Blender does not wait"""

    bl_idname = "pbrfit.check_backend"
    bl_label = "Check Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only one check at a time, and none during a setup."""
        if state.check() is not None or state.setting_up():
            cls.poll_message_set("Wait for the check or the setup that runs")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the check; the preferences show what it finds."""
        state.start_check(addon_preferences(context))
        start_timer()
        return {"FINISHED"}


class PBRFIT_OT_setup_backend(bpy.types.Operator):
    """Download the backend's packages into an environment of their own. Nothing is installed into Blender's Python"""

    bl_idname = "pbrfit.setup_backend"
    bl_label = "Set Up Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Online access must be allowed, and nothing may use what the setup changes."""
        if state.setting_up():
            cls.poll_message_set("The backend is being set up")
            return False
        if session.running():
            cls.poll_message_set(tr(session.busy_text()))
            return False
        if not bpy.app.online_access:
            cls.poll_message_set(OFFLINE)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the setup; the preferences show how far it is."""
        preferences = addon_preferences(context)
        state.close_check()
        stop_local_backend()  # it may hold files that the setup replaces
        try:
            build = torch_build(preferences.torch_choice)
            state.start_setup(build, bpy.path.abspath(preferences.base_python.strip()))
        except PbrFitError as error:
            self.report({"ERROR"}, tr_report(str(error)))
            return {"CANCELLED"}
        start_timer()
        return {"FINISHED"}


class PBRFIT_OT_cancel_setup(bpy.types.Operator):
    """Stop the setup of the backend, and remove what it has installed so far"""

    bl_idname = "pbrfit.cancel_setup"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be something to cancel."""
        if not state.setting_up():
            cls.poll_message_set("Nothing is being set up")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End pip and the processes that it started."""
        state.cancel_setup()
        return {"FINISHED"}


class PBRFIT_OT_remove_backend(bpy.types.Operator):
    """Delete the environment of the backend, to free its space on the disk"""

    bl_idname = "pbrfit.remove_backend"
    bl_label = "Remove Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """The environment must exist, and must not be in use."""
        if state.setting_up() or session.running():
            cls.poll_message_set("The backend is in use")
            return False
        if not environments_folder().is_dir():
            cls.poll_message_set("No environment was set up")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first: setting it up again takes a download."""
        answer: set[str] = context.window_manager.invoke_confirm(self, event)
        return answer

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End the backend and remove its files."""
        state.close()
        stop_local_backend()
        folder = environments_folder()
        forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.is_dir():
            self.report({"WARNING"}, tr_report(f"Some files are in use and stay: {folder}"))
        return {"FINISHED"}


class PBRFIT_OT_copy_public_key(bpy.types.Operator):
    """Copy this Blender's public key. A backend on another machine must know it before it answers"""

    bl_idname = "pbrfit.copy_public_key"
    bl_label = "Copy"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy the key to the clipboard."""
        try:
            context.window_manager.clipboard = state.public_key()
        except PbrFitError as error:
            self.report({"ERROR"}, tr_report(str(error)))
            return {"CANCELLED"}
        self.report({"INFO"}, "The public key was copied")
        return {"FINISHED"}


CLASSES = (
    PBRFIT_OT_check_backend,
    PBRFIT_OT_setup_backend,
    PBRFIT_OT_cancel_setup,
    PBRFIT_OT_remove_backend,
    PBRFIT_OT_copy_public_key,
)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """End what runs, stop the timer and unregister the operators."""
    stop_timer()
    state.close()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
