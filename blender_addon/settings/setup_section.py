# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the preferences that sets up the backend on this machine: what it would install, how far it is, how it ended."""

from __future__ import annotations

from urllib.parse import urlsplit

import bpy
from bpy.props import EnumProperty, StringProperty

from ..common.paragraphs import draw_text
from ..setup import state
from ..setup.backend_environment import environments_folder, finished_environment
from ..setup.setup_status import SetupStatus
from ..setup.torch_builds import AUTO, CONFIGURED, CPU, CUDA, INDEX, torch_build

TORCH_NAMES = {CPU: "PyTorch for the processor", CUDA: "PyTorch with CUDA", CONFIGURED: "the PyTorch that pip found"}


class BackendSection:
    """The settings of a setup, and what is drawn of it."""

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

    def draw_backend(self, context: bpy.types.Context, box: bpy.types.UILayout) -> None:
        """Show what a setup would install, how far it is, or how it ended."""
        box.label(text="Set Up on This Machine", icon="IMPORT")
        status = state.setup_status()
        if status is not None and not status.finished:
            draw_progress(context, box, status)
            return
        draw_text(context, box, environment_found(), "CHECKMARK")
        if not bpy.app.online_access:
            draw_text(context, box, "The setup downloads packages: allow Blender to go online first", "ERROR")
            box.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="INTERNET")
        row = box.row()
        # After a failure the buttons to start again are below what failed.
        if status is None or status.error is None:
            row.operator("pbrfit.setup_backend", icon="IMPORT").torch = ""
        row.operator("pbrfit.remove_backend", icon="TRASH", text="")
        if status is not None:
            draw_end(context, box, status)
        draw_text(context, box, f"This {torch_build(self.torch_choice).sizes}, in a folder of its own", "INFO")
        box.prop(self, "torch_choice")
        box.prop(self, "base_python")


def environment_found() -> str:
    """What the environment that was set up contains, for people; empty if there is none."""
    found = finished_environment(environments_folder())
    if found is None:
        return ""
    return f"Set up: PBRfit {found.version} with {TORCH_NAMES.get(found.build, 'PyTorch')}, on {found.base}"


def draw_progress(context: bpy.types.Context, box: bpy.types.UILayout, status: SetupStatus) -> None:
    """How far the setup is that runs, and its buttons."""
    box.progress(factor=status.fraction, type="BAR", text=f"{status.fraction:.0%}")
    draw_text(context, box, status.message)
    draw_text(context, box, f"{clock(state.setup_seconds())} elapsed, {downloaded(status)}")
    row = box.row()
    row.operator("pbrfit.cancel_setup", icon="X")
    row.operator("pbrfit.show_setup_log", icon="TEXT")


def draw_end(context: bpy.types.Context, box: bpy.types.UILayout, status: SetupStatus) -> None:
    """How the last setup ended; if it failed, why, what to do, and the buttons that do it."""
    after = f", after {clock(state.setup_seconds())}"
    draw_text(context, box, status.message + ("" if status.error is None else after), icon_of(status))
    if status.error is not None:
        draw_text(context, box, status.error.cause)
        draw_text(context, box, status.error.cure)
        if status.other_index_may_do:
            host = urlsplit(INDEX).hostname
            text = f"Only {host} was asked, PyTorch's own index: the one that pip is configured for may have it"
            draw_text(context, box, text)
        row = box.row()
        row.operator("pbrfit.setup_backend", text="Try Again", icon="FILE_REFRESH").torch = ""
        if status.other_index_may_do:
            row.operator("pbrfit.setup_backend", text="Try As pip Finds It", icon="WORLD").torch = CONFIGURED
    if state.setup_log() is not None:
        box.operator("pbrfit.show_setup_log", icon="TEXT")


def icon_of(status: SetupStatus) -> str:
    """The icon of how a setup ended."""
    if status.error is not None:
        return "CANCEL"
    return "CHECKMARK" if status.environment is not None else "INFO"


def downloaded(status: SetupStatus) -> str:
    """How much was downloaded, of about how much."""
    expected = max(status.expected_megabytes, status.megabytes)
    return f"{status.megabytes:,.0f} of about {expected:,.0f} MB downloaded"


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 2:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
