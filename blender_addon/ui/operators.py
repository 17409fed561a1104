# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that start and control a fit or a bake: thin shells around the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import EnumProperty

from ..assign import memory
from ..common.errors import PbrFitError, report
from ..common.records import is_baked
from ..common.redraw import redraw_sidebars, redraw_status_bars
from ..export.plan import target_objects
from ..session import session
from ..translations.translate import tr, tr_report
from .announcements import announce, ask
from .running import progress_text

POLL_SECONDS = 0.1
MOST_NAMES = 3


def poll_session() -> float | None:
    """Blender's timer: poll the session; None ends the timer."""
    running = session.current()
    if running is None:
        return None
    before, waited_for = running.status, running.waits_for
    try:
        status = running.poll()
    finally:
        if running.status != before:
            redraw_sidebars()
        # About once a second: it draws the whole window again.
        if progress_text(running.status) != progress_text(before):
            redraw_status_bars()
        if running.status.finished:
            announce(running)
        elif running.waits_for and not waited_for:
            ask(running)
    return None if status.finished else running.seconds_between_polls


def announced(context: bpy.types.Context) -> Callable[[float], None]:
    """A function that shows the progress of the export, while Blender waits: first in the sidebar, then at the mouse."""
    if bpy.app.background:
        return lambda _fraction: None
    manager = context.window_manager
    manager.progress_begin(0.0, 100.0)

    def show(fraction: float) -> None:
        if fraction == 0.0:
            redraw_sidebars()
            bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
        manager.progress_update(100.0 * fraction)

    return show


def showing_fitted(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected objects (or the active one) that show a material by PBRfit and remember what was there before."""
    return [item for item in target_objects(context) if any(kept.shows_fitted for kept in memory.remembered(item))]


def start_timer() -> None:
    """Poll the session from now on, also after another file is loaded."""
    if not bpy.app.timers.is_registered(poll_session):
        bpy.app.timers.register(poll_session, first_interval=POLL_SECONDS, persistent=True)


def stop_timer() -> None:
    """Stop polling."""
    if bpy.app.timers.is_registered(poll_session):
        bpy.app.timers.unregister(poll_session)


ORIGINAL, SHOWN = "ORIGINAL", "SHOWN"
QUESTION_WIDTH = 340


class StartOperator:
    """An operator that starts a session on the selection.

    It is not an operator itself: Blender reads a base class's properties only if that is no class of Blender's.
    """

    source: EnumProperty(
        name="Begin With",
        description="What to begin with where an object shows a material that PBRfit has made",
        items=[
            (ORIGINAL, "Original", "The material that was there before. The one that PBRfit has made is replaced"),
            (SHOWN, "What Is Shown", "The material by PBRfit, as if it were an original: a copy of a copy"),
        ],
        default=ORIGINAL,
        options={"SKIP_SAVE"},
    )

    poll_message_set: Callable[[str], None]  # from `bpy.types.Operator`
    report: Callable[[set[str], str], None]

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One session at a time."""
        if session.running():
            cls.poll_message_set(tr(session.busy_text()))
            return False
        return True

    def invoke(self: Any, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask what to begin with where something is fitted already."""
        if bpy.app.background or not showing_fitted(context):
            started: set[str] = self.execute(context)
            return started
        shown = [kept.entry.get("fitted") for item in showing_fitted(context) for kept in memory.remembered(item)]
        all_baked = all(is_baked(material) for material in shown if material is not None)
        asked: set[str] = context.window_manager.invoke_props_dialog(
            self,
            width=QUESTION_WIDTH,
            title="Baked Already" if all_baked else "Fitted Already",
            confirm_text=self.bl_label,
        )
        return asked

    def draw(self: Any, context: bpy.types.Context) -> None:
        """Draw the question."""
        names = ", ".join(f'"{item.name}"' for item in showing_fitted(context)[:MOST_NAMES])
        self.layout.label(text=tr(f"{names}: a material by PBRfit is shown"), icon="INFO")
        self.layout.row().prop(self, "source", expand=True)

    def execute(self: Any, context: bpy.types.Context) -> set[str]:
        """Check, export and start; with a window, a timer does the rest."""
        fitted = showing_fitted(context) if self.source == ORIGINAL else []
        memory.show(context.scene, fitted, fitted=False)
        try:
            started = self.start(context)
        except PbrFitError as error:
            memory.show(context.scene, fitted, fitted=True)
            report(self, error)
            return {"CANCELLED"}
        finally:
            if not bpy.app.background:
                context.window_manager.progress_end()
        for warning in started.results[0].warnings:
            self.report({"WARNING"}, tr_report(warning))
        if not bpy.app.background:
            start_timer()
        return {"FINISHED"}

    def start(self, context: bpy.types.Context) -> session.AnySession:
        """Start the session. Raises PbrFitError if it cannot start."""
        raise NotImplementedError


class PBRFIT_OT_optimize(StartOperator, bpy.types.Operator):
    """Fit new materials with image maps to the look of the selected or active objects"""

    bl_idname = "pbrfit.optimize"
    bl_label = "Optimize Materials"
    bl_options = {"REGISTER"}

    def start(self, context: bpy.types.Context) -> session.AnySession:
        """Start a fit."""
        return session.start_session(context, announced(context))


class PBRFIT_OT_bake_maps(StartOperator, bpy.types.Operator):
    """Bake what the nodes of the selected or active objects say into new materials with image maps. It needs no backend"""

    bl_idname = "pbrfit.bake_maps"
    bl_label = "Bake Maps"
    bl_options = {"REGISTER"}

    def start(self, context: bpy.types.Context) -> session.AnySession:
        """Start a bake."""
        return session.start_bake(context, announced(context))


class PBRFIT_OT_cancel(bpy.types.Operator):
    """Stop the running fit or bake. The file stays as it was"""

    bl_idname = "pbrfit.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be something to cancel."""
        if not session.running():
            cls.poll_message_set("Nothing is running")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Stop the second Blender and the backend's job."""
        stop_timer()
        running = session.current()
        if running is not None:
            running.cancel()
        redraw_sidebars()
        self.report({"INFO"}, tr_report(f"The {session.noun()} was cancelled"))
        return {"FINISHED"}


class PBRFIT_OT_pause(bpy.types.Operator):
    """Pause the running fit, so that the machine is free for other work, or let it go on"""

    bl_idname = "pbrfit.pause"
    bl_label = "Pause"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be work to pause."""
        running = session.current()
        if not isinstance(running, session.OptimizeSession) or not running.can_pause:
            cls.poll_message_set("There is no fit to pause")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Pause, or go on."""
        running = session.current()
        if isinstance(running, session.OptimizeSession):
            if running.status.paused:
                running.go_on()
            else:
                running.pause()
        redraw_sidebars()
        return {"FINISHED"}


class PBRFIT_OT_apply_now(bpy.types.Operator):
    """End the fit early and take the maps as they are now"""

    bl_idname = "pbrfit.apply_now"
    bl_label = "Apply Now"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """The fit must have begun to change the maps."""
        running = session.current()
        if not isinstance(running, session.OptimizeSession) or not running.can_apply_now:
            cls.poll_message_set("There are no maps yet: wait until the fit itself runs")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask the backend for the maps that it has."""
        running = session.current()
        if isinstance(running, session.OptimizeSession):
            running.apply_now()
        redraw_sidebars()
        return {"FINISHED"}


class PBRFIT_OT_resume(bpy.types.Operator):
    """Start the backend again, and go on with the fit from where it was"""

    bl_idname = "pbrfit.resume"
    bl_label = "Resume"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be a fit that lost its backend."""
        last = session.current()
        if last is None or not last.status.can_resume:
            cls.poll_message_set("No fit was interrupted")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Resume the session and poll it by the timer."""
        last = session.current()
        if not isinstance(last, session.OptimizeSession):
            return {"CANCELLED"}
        try:
            last.resume(context)
        except PbrFitError as error:
            self.report({"ERROR"}, tr_report(str(error)))
            return {"CANCELLED"}
        if not bpy.app.background:
            start_timer()
        redraw_sidebars()
        return {"FINISHED"}


class PBRFIT_OT_dismiss(bpy.types.Operator):
    """Remove the outcome of the last fit or bake from the panel. Its materials stay"""

    bl_idname = "pbrfit.dismiss"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be work that is over."""
        last = session.current()
        if last is None or not last.status.finished:
            cls.poll_message_set("There is no finished fit or bake")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Forget the session."""
        session.end_session()
        redraw_sidebars()
        return {"FINISHED"}


CLASSES = (
    PBRFIT_OT_optimize,
    PBRFIT_OT_bake_maps,
    PBRFIT_OT_cancel,
    PBRFIT_OT_pause,
    PBRFIT_OT_apply_now,
    PBRFIT_OT_resume,
    PBRFIT_OT_dismiss,
)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Stop the timer and unregister the operators."""
    stop_timer()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
