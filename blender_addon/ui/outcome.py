# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to say of the last fit or bake: why it failed in one line, the cure first, and the log behind a button."""

from __future__ import annotations

import bpy

from ..common.errors import first_line, log_of
from ..common.paragraphs import draw_text
from ..session import session

LARGE = 1.5
LOG_WIDTH = 760


def draw_outcome(context: bpy.types.Context, layout: bpy.types.UILayout, current: session.AnySession) -> None:
    """How the last fit or bake ended, if it did not end well: the new materials say themselves how good they are."""
    status = current.status
    if status.state == session.DONE and not current.failures:
        return
    box = layout.box()
    if status.error is not None:
        if status.can_resume:
            row = box.row()
            row.scale_y = LARGE
            row.operator("pbrfit.resume", icon="PLAY")
        draw_text(context, box, first_line(status.error.cause), "CANCEL")
        draw_text(context, box, status.error.cure, "BLANK1")
    elif status.state == session.DONE:
        for line in current.failures:
            draw_text(context, box, first_line(line), "CANCEL")
    else:
        draw_text(context, box, status.message, "INFO")
    row = box.row(align=True)
    if last_log(current):
        row.operator("pbrfit.show_log", icon="TEXT")
    row.operator("pbrfit.dismiss", icon="X")


def last_log(current: session.AnySession | None) -> str:
    """What the process that failed last has written; empty if nothing failed, or it wrote nothing."""
    if current is None:
        return ""
    causes = [current.status.cause, *current.failures]
    return "\n".join(log for cause in causes if (log := log_of(cause)))


class PBRFIT_OT_show_log(bpy.types.Operator):
    """Show what the process that failed has written last"""

    bl_idname = "pbrfit.show_log"
    bl_label = "Show Log"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be a log."""
        if not last_log(session.current()):
            cls.poll_message_set("Nothing has failed that wrote a log")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Show it in a pop-up."""
        shown: set[str] = context.window_manager.invoke_popup(self, width=LOG_WIDTH)
        return shown

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw its lines."""
        column = self.layout.column(align=True)
        column.scale_y = 0.8
        for line in last_log(session.current()).splitlines():
            column.label(text=line, translate=False)
        self.layout.operator("pbrfit.copy_log", icon="COPYDOWN")

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Without a window: nothing to show it in."""
        return {"FINISHED"}


class PBRFIT_OT_copy_log(bpy.types.Operator):
    """Copy the log to the clipboard, for example for a report of a fault"""

    bl_idname = "pbrfit.copy_log"
    bl_label = "Copy Log"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy the cause, and what the process has written."""
        current = session.current()
        text = current.status.cause if current is not None else ""
        context.window_manager.clipboard = text or last_log(current)
        self.report({"INFO"}, "The log was copied")
        return {"FINISHED"}


CLASSES = (PBRFIT_OT_show_log, PBRFIT_OT_copy_log)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the operators."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
