# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend is, kept with the user's preferences; what was found, and buttons to check it and set it up."""

from __future__ import annotations

import textwrap

import bpy
from bpy.props import EnumProperty, StringProperty

from ..common.errors import PbrFitError
from ..common.package import ADDON
from ..setup import state as setup_state
from ..setup.backend_check import BAD, GOOD, NOTE, CheckReport
from ..setup.torch_builds import AUTO, CONFIGURED, CPU, CUDA, torch_build
from ..translations.translate import tr

ICONS = {GOOD: "CHECKMARK", NOTE: "INFO", BAD: "CANCEL"}
POINTS_FOR_EACH_CHARACTER = 6.5


class PBRFIT_AddonPreferences(bpy.types.AddonPreferences):
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
    torch_choice: EnumProperty(
        name="PyTorch",
        description="Which build of PyTorch to install. With an NVIDIA GPU a fit takes seconds, else minutes",
        items=(
            (AUTO, "Automatic", "With CUDA if there is an NVIDIA GPU, else without"),
            (CPU, "Without CUDA", "Small; runs on the processor"),
            (CUDA, "With CUDA", "Large; runs on an NVIDIA GPU"),
            (CONFIGURED, "As pip Finds It", "From where pip is configured to look, such as a company's own mirror"),
        ),
        default=AUTO,
    )
    base_python: StringProperty(
        name="Build On",
        description="A Python, 3.11 or newer, to make the environment with. Empty: find one on this system, or else use "
        "Blender's own, which does not change",
        subtype="FILE_PATH",
        default="",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the preferences."""
        layout = self.layout
        layout.use_property_split = True
        self.draw_found(context, layout.box())
        self.draw_setup(context, layout.box())
        chosen = layout.box()
        chosen.label(text="A Backend of Your Own", icon="CONSOLE")
        chosen.prop(self, "backend_python")
        command = setup_state.command_found()
        draw_text(context, chosen, f"On the search path: {command or 'no command pbrfit'}", "INFO")
        self.draw_remote(context, layout.box())

    def draw_found(self, context: bpy.types.Context, box: bpy.types.UILayout) -> None:
        """Show which backend PBRfit will use, and what the check of it found."""
        try:
            draw_text(context, box, setup_state.backend_found(self), "LINKED")
        except PbrFitError as error:
            draw_text(context, box, error.cause, "UNLINKED")
            draw_text(context, box, error.cure)
        report = setup_state.report()
        if setup_state.check() is not None:
            box.label(text="Checking...", icon="SORTTIME")
        elif report is not None:
            draw_report(context, box, report)
        box.operator("pbrfit.check_backend", icon="VIEWZOOM")

    def draw_setup(self, context: bpy.types.Context, box: bpy.types.UILayout) -> None:
        """Show what a setup would install, how far it is, or how it ended."""
        box.label(text="Set Up on This Machine", icon="IMPORT")
        status = setup_state.setup_status()
        if status is not None and not status.finished:
            box.progress(factor=status.fraction, type="BAR", text=f"{status.fraction:.0%}")
            draw_text(context, box, status.message)
            box.operator("pbrfit.cancel_setup", icon="X")
            return
        draw_text(context, box, setup_state.environment_found(), "CHECKMARK")
        box.prop(self, "torch_choice")
        box.prop(self, "base_python")
        draw_text(context, box, f"This {torch_build(self.torch_choice).sizes}, in a folder of its own", "INFO")
        if not bpy.app.online_access:
            text = "Allow Online Access is off: turn it on in Preferences > System > Network"
            draw_text(context, box, text, "ERROR")
        row = box.row()
        row.operator("pbrfit.setup_backend", icon="IMPORT")
        row.operator("pbrfit.remove_backend", icon="TRASH", text="")
        if status is not None:
            draw_text(context, box, status.message, "CHECKMARK" if status.error is None else "CANCEL")
        if status is not None and status.error is not None:
            draw_text(context, box, status.error.cause)
            draw_text(context, box, status.error.cure)
            draw_text(context, box, f"Log: {setup_state.setup_log()}")

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


def draw_text(context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Show a paragraph, wrapped to the width of the preferences; nothing for an empty one."""
    if not text:
        return
    width = context.region.width / context.preferences.system.ui_scale - 110.0
    characters = max(40, int(width / POINTS_FOR_EACH_CHARACTER))
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in tr(text).splitlines() for line in textwrap.wrap(part, characters)]
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 and icon != "NONE" else "BLANK1", translate=False)


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
