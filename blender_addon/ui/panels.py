# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab "PBRfit" in the 3D view's sidebar: the large button on top, in one place; below it what there is to know."""

from __future__ import annotations

import bpy

from ..assign import memory
from ..common.paragraphs import draw_line
from ..common.records import is_baked
from ..preflight import checks as preflight
from ..preflight.checks import Finding
from ..session import session
from ..translations.translate import tr
from ..wipe import wipe
from . import thumbnails
from .announcements import hides_materials
from .bake_verdicts import draw_bake, draw_verdicts
from .facts import draw_facts, time_text
from .operators_export import draw_export
from .operators_result import fitted_targets, last_material, unassigned
from .operators_unseen import draw_unseen
from .operators_verdict import draw_verdicts_of_results
from .operators_wipe import draw_comparison
from .outcome import draw_outcome
from .preset_menu import draw_presets
from .running import BAR_HEIGHT, draw_running
from .sidebar import SidebarPanel

OPEN_FIXES = {"pbrfit.use_studio_light"}
"""Buttons that are shown at once, though the fit could start without them: without more light its result says little."""
CLOSED_BESIDE_RESULT = frozenset({preflight.NO_BACKEND})
ICONS = {preflight.ERROR: "CANCEL", preflight.WARNING: "ERROR"}


class PBRFIT_PT_fit(SidebarPanel, bpy.types.Panel):
    """The state, what will be fitted or baked, and the buttons."""

    bl_idname = "PBRFIT_PT_fit"
    bl_label = "PBRfit"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what applies: what runs, or what can be started and what came of the last time.

        What changes its height is below what does not, so that no button moves under the mouse.
        """
        layout, current = self.layout, session.current()
        if current is not None and session.running():
            draw_running(context, layout, current)
            return
        findings = preflight.quick_findings(context)
        draw_start(context, layout, bool(preflight.errors_of(findings)))
        if current is not None:
            draw_outcome(context, layout, current)
        shown = sorted(preflight.with_checked(context, findings), key=lambda one: one.level != preflight.ERROR)
        errors = preflight.errors_of(shown)
        # Who has a result looks at that, and not at what stops the next fit.
        if has_result(context):
            draw_result(context, layout)
            draw_findings(context, layout, errors, CLOSED_BESIDE_RESULT)
        else:
            draw_findings(context, layout, errors)
        draw_facts(context, layout)
        draw_findings(context, layout, shown[len(errors) :])
        draw_verdicts(context, layout)
        layout.operator("pbrfit.check", icon="VIEWZOOM")


def draw_start(context: bpy.types.Context, layout: bpy.types.UILayout, hindered: bool) -> None:
    """The large button, how long it takes, the presets, and the bake."""
    row = layout.row()
    row.scale_y = BAR_HEIGHT
    row.enabled = not hindered
    row.operator("pbrfit.optimize", icon="MATERIAL")
    layout.label(text=tr(time_text(context)), icon="TIME")
    draw_presets(context, layout)
    draw_bake(context, layout)


def draw_findings(
    context: bpy.types.Context,
    layout: bpy.types.UILayout,
    findings: list[Finding],
    closed_titles: frozenset[str] = frozenset(),
) -> None:
    """A line for each finding, which opens to what to do and the button that does it. What stops a fit is open, except with one
    of these titles."""
    for finding in findings:
        closed = finding.level != preflight.ERROR and finding.fix not in OPEN_FIXES
        more = [finding.cause, finding.cure] if finding.title else [finding.cure]
        apart = finding.title in closed_titles
        body = draw_line(
            context, layout, finding.title or finding.cause, ICONS[finding.level], more, closed or apart, apart
        )
        if body is not None and finding.fix:
            button = body.operator(finding.fix)
            if finding.fix.startswith("pbrfit."):
                button.target = finding.target


def has_result(context: bpy.types.Context) -> bool:
    """Whether there are new materials of the selection, or maps that could not be assigned."""
    return bool(fitted_targets(context) or unassigned(session.current()))


def draw_result(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """How good the new materials of the selection are, and the buttons for them."""
    targets = fitted_targets(context)
    draw_verdicts_of_results(context, layout)
    if targets and hides_materials(context) and wipe.current() is None:
        layout.operator("pbrfit.show_result", icon="SHADING_TEXTURE")
    column = layout.column(align=True)
    if targets:
        draw_comparison(context, column)
        last = last_material(targets)
        done, again = ("Baked", "Bake Again") if last is not None and is_baked(last) else ("Fitted", "Fit Again")
        shows_original = memory.shown(targets) == "ORIGINAL"
        column.operator(
            "pbrfit.compare", text=f"Show {done}" if shows_original else "Show Original", icon="UV_SYNC_SELECT"
        )
        row = column.row(align=True)
        row.operator("pbrfit.revert", icon="LOOP_BACK")
        row.operator("pbrfit.fit_again", text=again, icon="FILE_REFRESH")
    draw_unseen(context, column)
    row = column.row(align=True)
    row.operator("pbrfit.save_maps", icon="EXPORT")
    if targets:
        draw_export(row)


def register() -> None:
    """Register the panel and its pictures."""
    thumbnails.register()
    bpy.utils.register_class(PBRFIT_PT_fit)


def unregister() -> None:
    """Unregister the panel and free its pictures."""
    bpy.utils.unregister_class(PBRFIT_PT_fit)
    thumbnails.unregister()
