# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend is, kept with the user's preferences."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty


class PBRFIT_AddonPreferences(bpy.types.AddonPreferences):
    """Preferences of the add-on."""

    bl_idname = __package__

    backend_python: StringProperty(
        name="Backend Python",
        description="A Python with the package pbrfit installed. Empty: the command pbrfit on the search path",
        subtype="FILE_PATH",
        default="",
    )
    backend_address: StringProperty(
        name="Backend Address",
        description="Address of a running backend, such as tcp://127.0.0.1:5555. Empty: start one on this machine",
        default="",
    )

    backend_key: StringProperty(
        name="Backend Key",
        description="Public key of the backend at that address, as `pbrfit serve` prints it",
        default="",
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the preferences."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "backend_python")
        layout.prop(self, "backend_address")
        layout.prop(self, "backend_key")


def addon_preferences(context: bpy.types.Context) -> PBRFIT_AddonPreferences:
    """The add-on's preferences."""
    return context.preferences.addons[__package__].preferences


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(PBRFIT_AddonPreferences)


def unregister() -> None:
    """Unregister the preferences."""
    bpy.utils.unregister_class(PBRFIT_AddonPreferences)
