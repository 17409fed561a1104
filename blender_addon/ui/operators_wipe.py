# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators of the comparison in a 3D view, and its buttons in the tab."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from bpy.props import EnumProperty

from ..common.errors import PbrFitError, report
from ..common.redraw import redraw_views
from ..settings.wipe import BAKE, ERROR, NEW, ORIGINAL, label_of
from ..translations.translate import tr
from ..wipe import wipe
from ..wipe.view_before import FoundView
from .operators_result import fitted_targets

PREVIOUS, NEXT, WORST, HOME = "PREVIOUS", "NEXT", "WORST", "HOME"
KEYS = {"ONE": ORIGINAL, "TWO": NEW, "THREE": BAKE, "FOUR": ERROR}
STEPS = {"LEFT_ARROW": PREVIOUS, "RIGHT_ARROW": NEXT, "HOME": HOME, "W": WORST}


def status_texts(of_bake: bool) -> tuple[str, ...]:
    """What mouse and keys do, for the status bar."""
    label = label_of(NEW, of_bake)
    return (
        "Drag: divider",
        f"1 2 3 4: Original, {label}, Bake, Error on the right, with Shift on the left",
        "Left, Right: references",
        "W: worst view",
        "Home: own view",
        "C: Cycles",
        "Esc: end",
    )


class PBRFIT_OT_compare_in_view(bpy.types.Operator):
    """Show original and new materials side by side in this 3D view. Press it again, or Escape, to end"""

    bl_idname = "pbrfit.compare_in_view"
    bl_label = "Compare"
    bl_options = {"REGISTER"}

    poll_message_set: Callable[[str], None]  # from `bpy.types.Operator`
    report: Callable[[set[str], str], None]
    _dragging = False
    _comparison: object = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be a fitted object to begin, and a comparison to end."""
        if wipe.current() is None and not fitted_targets(context):
            cls.poll_message_set("No selected or active object has a material by PBRfit")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Begin or end."""
        if wipe.current() is not None:
            wipe.end()
            return {"FINISHED"}
        view = wipe.view_of(context.window, context.area) if context.area is not None else None
        view = view or wipe.largest_view(context.window)
        if view is None:
            self.report({"WARNING"}, "There is no 3D view in this window to compare in")
            return {"CANCELLED"}
        wipe.begin(view, fitted_targets(context))
        self._comparison = begun = wipe.current()
        context.window_manager.modal_handler_add(self)
        context.workspace.status_text_set(
            "   |   ".join(tr(part) for part in status_texts(begun is not None and begun.of_bake))
        )
        return {"RUNNING_MODAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Without a click, and so without a view: nothing to show it in."""
        self.report({"WARNING"}, "Press Compare in a 3D view")
        return {"CANCELLED"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take the mouse and the keys that are over the comparison, and leave all others alone."""
        comparison, view = wipe.current(), wipe.shown_view()
        if comparison is None or comparison is not self._comparison:
            self.cancel(context)
            return {"FINISHED"}
        if view is None:
            return {"PASS_THROUGH"}
        x = event.mouse_x - view.region.x
        if self._dragging:
            if event.type == "LEFTMOUSE" and event.value == "RELEASE":
                self._dragging = False  # the mouse may have moved on since then
            elif event.type in {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}:
                comparison.divider = min(max(x / max(1, view.region.width), 0.0), 1.0)
                view.region.tag_redraw()
            return {"RUNNING_MODAL"}
        if event.value != "PRESS" or not is_over(view, event.mouse_x, event.mouse_y):
            return {"PASS_THROUGH"}
        if event.type == "LEFTMOUSE" and not (event.alt or event.ctrl or event.shift):
            comparison.divider = x / max(1, view.region.width)
            self._dragging = True
            view.region.tag_redraw()
        elif event.type == "ESC":
            wipe.end()
            self.cancel(context)
            return {"FINISHED"}
        elif not self._take_key(context, view, event):
            return {"PASS_THROUGH"}
        return {"RUNNING_MODAL"}

    def _take_key(self, context: bpy.types.Context, view: FoundView, event: bpy.types.Event) -> bool:
        if event.alt or event.ctrl:
            return False
        if event.type in KEYS:
            setattr(context.window_manager.pbrfit_wipe, "left" if event.shift else "right", KEYS[event.type])
        elif event.type in STEPS:
            take(self, lambda: step(view, STEPS[event.type]))
        elif event.type == "C" and not event.shift:
            take(self, lambda: render(context, view))
        else:
            return False
        redraw_views()
        return True

    def cancel(self, context: bpy.types.Context) -> None:
        """The operator ends."""
        if context.workspace is not None:
            context.workspace.status_text_set(None)


def is_over(view: FoundView, x: int, y: int) -> bool:
    """Whether a place of the window is over a view's picture, and not over its sidebar, toolbar or header."""

    def holds(region: bpy.types.Region) -> bool:
        return bool(region.x <= x < region.x + region.width and region.y <= y < region.y + region.height)

    others = [item for item in view.area.regions if item.type != "WINDOW" and min(item.width, item.height) > 1]
    return holds(view.region) and not any(holds(item) for item in others)


def step(view: FoundView, to: str) -> None:
    """Go to another reference, or back. Raises PbrFitError if there is none."""
    comparison = wipe.current()
    if comparison is None:
        return
    if to == HOME:
        comparison.go_home(view)
    elif to == WORST:
        comparison.step_to_worst()
    else:
        comparison.step(view, 1 if to == NEXT else -1)


def render(context: bpy.types.Context, view: FoundView) -> None:
    """Render the originals from where the view is. Raises PbrFitError if that cannot start."""
    comparison, drawn = wipe.current(), wipe.drawing()
    if comparison is not None and drawn is not None and drawn.sight is not None:
        comparison.render_original(context, view, drawn.sight.key)


def take(operator: bpy.types.Operator, work: Callable[[], None]) -> bool:
    """Do something, and report what goes wrong; returns whether it went well."""
    try:
        work()
    except PbrFitError as error:
        report(operator, error)
        return False
    return True


class ComparingOperator:
    """An operator that needs a comparison in a view."""

    poll_message_set: Callable[[str], None]  # from `bpy.types.Operator`

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be a comparison."""
        if wipe.shown_view() is None:
            cls.poll_message_set("Press Compare first")
            return False
        return True


class PBRFIT_OT_compare_step(ComparingOperator, bpy.types.Operator):
    """Put the view where a reference of the last fit was rendered from"""

    bl_idname = "pbrfit.compare_step"
    bl_label = "Step to Reference"
    bl_options = {"INTERNAL"}

    to: EnumProperty(
        name="To",
        description="Where to go",
        items=[
            (PREVIOUS, "Previous Reference", "Put the view where the reference before this one was rendered from"),
            (NEXT, "Next Reference", "Put the view where the next reference of the last fit was rendered from"),
            (WORST, "Worst View", "Put the view where the new material differs most from its reference"),
            (HOME, "Own View", "Put the view back where it was before the first reference"),
        ],
        default=NEXT,
    )

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """That of the way."""
        items = cls.bl_rna.properties["to"].enum_items
        return str(items[properties.to].description)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Step."""
        view = wipe.shown_view()
        done = view is not None and take(self, lambda: step(view, self.to))
        redraw_views()
        return {"FINISHED"} if done else {"CANCELLED"}


class PBRFIT_OT_compare_render(ComparingOperator, bpy.types.Operator):
    """Render the originals with Cycles from this view, in a second Blender. Turn the view to go back to the baked maps"""

    bl_idname = "pbrfit.compare_render"
    bl_label = "Render Original"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start to render."""
        view = wipe.shown_view()
        done = view is not None and take(self, lambda: render(context, view))
        redraw_views()
        return {"FINISHED"} if done else {"CANCELLED"}


def draw_comparison(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The button, and while a comparison is shown its settings."""
    comparison = wipe.current()
    text = "Compare" if comparison is None else "End Comparison"
    layout.operator("pbrfit.compare_in_view", text=text, icon="MOD_MIRROR", depress=comparison is not None)
    if comparison is None:
        return
    settings = context.window_manager.pbrfit_wipe
    box = layout.box().column()
    row = box.row(align=True)
    row.prop(settings, "left", text="")
    row.prop(settings, "right", text="")
    if ERROR in (settings.left, settings.right):
        box.prop(settings, "gain")
    row = box.row(align=True)
    row.operator("pbrfit.compare_step", text="", icon="TRIA_LEFT").to = PREVIOUS
    row.operator("pbrfit.compare_step", text="", icon="TRIA_RIGHT").to = NEXT
    row.operator("pbrfit.compare_step", text="Worst View").to = WORST
    row.operator("pbrfit.compare_step", text="", icon="HOME").to = HOME
    box.operator("pbrfit.compare_render", icon="RENDER_STILL")


CLASSES = (PBRFIT_OT_compare_in_view, PBRFIT_OT_compare_step, PBRFIT_OT_compare_render)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the operators."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
