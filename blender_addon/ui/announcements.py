# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen outside the tab: the progress in the status bar, and at the end a line there and in the Info log; for who is
elsewhere, a notification of the system."""

from __future__ import annotations

import time
from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ..common import notifying
from ..common.errors import first_line
from ..common.redraw import redraw_status_bars
from ..common.window_focus import has_focus
from ..session import session
from ..settings.preferences import addon_preferences
from ..translations.translate import tr_report
from .operators_verdict import verdict_of
from .running import duration, progress_text

STATUS_BAR_UNITS = 9.0
INFO, WARNING = "INFO", "WARNING"
EVENT_SECONDS = 0.01
SOON_SECONDS = 10.0  # who waits no longer than this is still there
PREFIX = "PBRfit: "
ICONS = {INFO: "INFO", WARNING: "ERROR"}
REPORT_SECONDS, SAID_SECONDS = 10.0, 600.0
"""How long Blender itself shows a report in the status bar, and for how long the end is said there after that."""

_ended = (0.0, INFO, "")  # when the last work ended, and what there is to say


def draw_status_bar(self: Any, _context: bpy.types.Context) -> None:
    """Add the progress of what runs to Blender's status bar."""
    current = session.current()
    if current is None:
        return
    if not session.running():
        since, kind, said = _ended
        if said and REPORT_SECONDS <= time.monotonic() - since < SAID_SECONDS:
            self.layout.label(text=tr_report(said), icon=ICONS[kind], translate=False)
        return
    row = self.layout.row()
    row.ui_units_x = STATUS_BAR_UNITS
    text = f"PBRfit: {progress_text(current.status)}"
    row.progress(factor=current.status.fraction, type="BAR", text=text)


def end_of(current: session.AnySession) -> tuple[str, str]:
    """The kind of report and the line that says how a session ended; an empty line where there is nothing to say."""
    status = current.status
    if status.state == session.FAILED:
        return WARNING, f"{PREFIX}the {current.noun} failed. {first_line(status.cause)}"
    if status.state != session.DONE:
        return INFO, ""
    made = [bpy.data.materials.get(name) for result in current.results for name in result.materials]
    judged = ", ".join(f'"{item.name}": {tr_report(verdict_of(item).label)}' for item in made if item is not None)
    total = max((result.seconds.get("total", 0.0) for result in current.results), default=0.0)
    line = f"{PREFIX}{judged} ({duration(total)})"
    return (WARNING, f"{line}. {tr_report(first_line(current.failures[0]))}") if current.failures else (INFO, line)


def announce(current: session.AnySession) -> None:
    """Say how a session ended, where there is a window."""
    global _ended
    kind, text = end_of(current)
    _ended = time.monotonic(), kind, text
    windows = bpy.context.window_manager.windows
    if text and windows and not bpy.app.background:
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.pbrfit.announce("INVOKE_DEFAULT", kind=kind, text=text)
        bpy.app.timers.register(redraw_status_bars, first_interval=REPORT_SECONDS + 0.5)
    if text:
        end = "failed" if current.status.state == session.FAILED else "is done"
        # The prefix is part of the sentence that the catalogue knows.
        told = tr_report(text).removeprefix(PREFIX)
        tell_who_is_away(current, tr_report(f"PBRfit: the {current.noun} {end}"), told)


def ask(current: session.AnySession) -> None:
    """Say that the artist has to do something before the maps can be assigned."""
    title = tr_report(f"PBRfit: the {current.noun} waits for you")
    tell_who_is_away(current, title, tr_report(current.waits_for))


def tell_who_is_away(current: session.AnySession, title: str, text: str) -> bool:
    """Show a notification if the work took a while and no window of this Blender has the focus; returns whether it did.

    Where the system does not tell who has the focus, it is shown too. Never without a window, as on a render farm.
    """
    if bpy.app.background or not bpy.context.window_manager.windows or current.seconds < SOON_SECONDS:
        return False
    if not addon_preferences(bpy.context).notify_when_done or has_focus():
        return False
    return notifying.notify(title, text)


class PBRFIT_OT_announce(bpy.types.Operator):
    """Write a line to the Info log and the status bar"""

    bl_idname = "pbrfit.announce"
    bl_label = "PBRfit"
    bl_options = {"INTERNAL"}

    kind: EnumProperty(name="Kind", description="Kind of report", items=[(INFO, "Info", ""), (WARNING, "Warning", "")])
    text: StringProperty(name="Text", description="What to say", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Wait for the next event: what an operator reports while a script calls it goes to the script alone."""
        self._timer = context.window_manager.event_timer_add(EVENT_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Say it at the first event of the timer; the artist's own events pass."""
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self.execute(context)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Say it."""
        self.report({self.kind}, tr_report(self.text))
        return {"FINISHED"}


class PBRFIT_OT_show_result(bpy.types.Operator):
    """Show the new materials in this 3D view: its shading becomes Material Preview"""

    bl_idname = "pbrfit.show_result"
    bl_label = "Show in Material Preview"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for a 3D view that shows no materials."""
        if not hides_materials(context):
            cls.poll_message_set("This 3D view shows materials already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Change the shading."""
        context.space_data.shading.type = "MATERIAL"
        return {"FINISHED"}


def hides_materials(context: bpy.types.Context) -> bool:
    """Whether the current editor is a 3D view whose shading shows no materials."""
    space = context.space_data
    return space is not None and space.type == "VIEW_3D" and space.shading.type in {"SOLID", "WIREFRAME"}


CLASSES = (PBRFIT_OT_announce, PBRFIT_OT_show_result)


def register() -> None:
    """Register the operators, and draw in the status bar."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    bpy.types.STATUSBAR_HT_header.append(draw_status_bar)


def unregister() -> None:
    """Undo `register`."""
    bpy.types.STATUSBAR_HT_header.remove(draw_status_bar)
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
