# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend is, kept with the user's preferences; what was found, and buttons to check it and set it up."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, StringProperty

from ..common.errors import PbrFitError
from ..common.package import ADDON
from ..common.paragraphs import draw_text
from ..protocol.zeromq import HAS_ZEROMQ
from ..setup import state as setup_state
from ..setup.backend_check import BAD, GOOD, NOTE, CheckReport
from ..setup.offer import SETS_UP
from ..translations.translate import tr

if SETS_UP:
    from .setup_section import BackendSection
else:
    from .own_backend_section import BackendSection  # type: ignore[assignment]

ICONS = {GOOD: "CHECKMARK", NOTE: "INFO", BAD: "CANCEL"}


class PBRFIT_AddonPreferences(BackendSection, bpy.types.AddonPreferences):
    """Preferences of the add-on."""

    bl_idname = ADDON

    backend_python: StringProperty(
        name="Backend Python",
        description="A Python that has the package pbrfit. Empty: the environment that was set up here, or else "
        "the command pbrfit on the search path",
        subtype="FILE_PATH",
        default="",
    )
    backend_address: StringProperty(
        name="Address",
        description="Address of a running backend, such as tcp://192.168.1.20:5555. Empty: start one on this machine",
        default="",
    )
    backend_key: StringProperty(
        name="Its Public Key",
        description="Public key of the backend at that address, as `pbrfit serve` prints it",
        default="",
    )
    notify_when_done: BoolProperty(
        name="Notify When Done",
        description="Show a notification of the system when a fit or bake that took longer is done, has failed or waits for "
        "you, while no window of this Blender has the focus",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the preferences."""
        layout = self.layout
        layout.use_property_split = True
        self.draw_found(context, layout.box())
        if not HAS_ZEROMQ:  # what is said above, no setting changes
            return
        self.draw_backend(context, layout.box())
        chosen = layout.box()
        chosen.label(text="A Backend of Your Own", icon="CONSOLE")
        chosen.prop(self, "backend_python")
        command = setup_state.command_found()
        draw_text(context, chosen, f"On the search path: {command}" if command else "", "INFO")
        self.draw_remote(context, layout.box())
        layout.prop(self, "notify_when_done")

    def draw_found(self, context: bpy.types.Context, box: bpy.types.UILayout) -> None:
        """Show which backend PBRfit will use, and what the check of it found."""
        try:
            draw_text(context, box, setup_state.backend_found(self), "LINKED")
        except PbrFitError as error:
            draw_text(context, box, error.cause, "UNLINKED")
            if not SETS_UP:  # else the next box is the cure
                draw_text(context, box, error.cure)
        report = setup_state.report()
        if setup_state.check() is not None:
            box.label(text="Checking...", icon="SORTTIME")
        elif report is not None:
            draw_report(context, box, report)
        box.operator("pbrfit.check_backend", icon="VIEWZOOM")

    def draw_remote(self, context: bpy.types.Context, box: bpy.types.UILayout) -> None:
        """Show the address of a backend on another machine, and the public key of each end."""
        box.label(text="A Backend on Another Machine", icon="URL")
        box.prop(self, "backend_address")
        box.prop(self, "backend_key")
        try:
            key = setup_state.public_key()
        except PbrFitError as error:
            draw_text(context, box, f"{error.cause} {error.cure}", "CANCEL")
            return
        row = box.row()
        row.label(text=tr(f"This Blender's public key: {key}"))
        row.operator("pbrfit.copy_public_key", icon="COPYDOWN", text="")


def draw_report(context: bpy.types.Context, layout: bpy.types.UILayout, report: CheckReport) -> None:
    """Show what a check found: problems first, with their cures."""
    draw_text(context, layout, "It works" if report.works else "It does not work", ICONS[GOOD if report.works else BAD])
    for level in (BAD, NOTE):
        for line in report.lines:
            if line.level == level:
                draw_text(context, layout, line.text, ICONS[level])
                draw_text(context, layout, line.cure)
    draw_text(context, layout, "; ".join(tr(line.text) for line in report.lines if line.level == GOOD))


def addon_preferences(context: bpy.types.Context) -> PBRFIT_AddonPreferences:
    """The add-on's preferences."""
    preferences: PBRFIT_AddonPreferences = context.preferences.addons[ADDON].preferences
    return preferences


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(PBRFIT_AddonPreferences)


def unregister() -> None:
    """Unregister the preferences."""
    bpy.utils.unregister_class(PBRFIT_AddonPreferences)
