# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that set up the backend on this machine. The work is done in a thread; the timer of `operators_backend` shows it."""

from __future__ import annotations

import shutil

import bpy
from bpy.props import StringProperty

from ..common.errors import PbrFitError, log_tail
from ..session import session
from ..settings.preferences import addon_preferences
from ..setup import state
from ..setup.backend_environment import environments_folder, forget
from ..setup.backend_process import stop_local_backend
from ..setup.install import start_setup
from ..setup.torch_builds import torch_build
from ..translations.translate import tr, tr_report
from .operators_backend import start_timer

OFFLINE = 'Press "Allow Online Access" first: the setup downloads packages'
LOG_LINES, LOG_WIDTH = 24, 900


class PBRFIT_OT_setup_backend(bpy.types.Operator):
    """Download the backend's packages into an environment of their own. Nothing is installed into Blender's Python"""

    bl_idname = "pbrfit.setup_backend"
    bl_label = "Set Up Backend"
    bl_options = {"INTERNAL"}

    torch: StringProperty(
        name="PyTorch",
        description="The build of PyTorch to choose first; empty: the one that is chosen",
        options={"HIDDEN", "SKIP_SAVE"},
    )

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
        if self.torch:
            preferences.torch_choice = self.torch
        state.close_check()
        stop_local_backend()  # it may hold files that the setup replaces
        try:
            python = bpy.path.abspath(preferences.base_python.strip())
            state.begin_setup(start_setup(torch_build(preferences.torch_choice), python))
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


class PBRFIT_OT_show_setup_log(bpy.types.Operator):
    """Show the end of what the setup of the backend has written"""

    bl_idname = "pbrfit.show_setup_log"
    bl_label = "Open Log"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be a log."""
        if state.setup_log() is None:
            cls.poll_message_set("Nothing was set up since Blender was started")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Show it in a pop-up."""
        shown: set[str] = context.window_manager.invoke_popup(self, width=LOG_WIDTH)
        return shown

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw its last lines, where it is, and a button that opens all of it."""
        path = state.setup_log()
        if path is None:
            return
        column = self.layout.column(align=True)
        column.scale_y = 0.8
        column.label(text=str(path), icon="TEXT")
        for line in log_tail(path, LOG_LINES).splitlines():
            column.label(text=line)
        self.layout.operator("wm.path_open", text="Open in Text Editor", icon="CURRENT_FILE").filepath = str(path)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Without a window: nothing to show it in."""
        return {"FINISHED"}


CLASSES = (
    PBRFIT_OT_setup_backend,
    PBRFIT_OT_cancel_setup,
    PBRFIT_OT_remove_backend,
    PBRFIT_OT_show_setup_log,
)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the operators; `operators_backend` ends what runs."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
