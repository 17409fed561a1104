# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators about the backend, however it came here: check it, and copy the key that it must know. A timer shows the state."""

from __future__ import annotations

import bpy

from ..common.errors import PbrFitError
from ..common.redraw import redraw_preferences
from ..settings.preferences import addon_preferences
from ..setup import state
from ..translations.translate import tr_report

POLL_SECONDS = 0.2


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


CLASSES = (PBRFIT_OT_check_backend, PBRFIT_OT_copy_public_key)


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
