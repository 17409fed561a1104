# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the preferences about the backend, in a build of the add-on that does not set it up: what the user does instead."""

from __future__ import annotations

import bpy

from ..common.paragraphs import draw_text

STEPS = (
    "Bake Maps needs nothing more. Optimize Materials and the preview's light need PBRfit's backend, a separate program.",
    "1. Install it into a Python (3.11 or newer) of yours, as the manual says: press F1 over Check Backend.",
    "2. Choose that Python as Backend Python below: PBRfit starts the backend when it is needed. Or start it yourself "
    "(pbrfit serve), and enter below the address and the public key that it prints.",
)


class BackendSection:
    """What is drawn; there is nothing to set."""

    def draw_backend(self, context: bpy.types.Context, box: bpy.types.UILayout) -> None:
        """Say how to install and start the backend."""
        box.label(text="The Backend on This Machine", icon="CONSOLE")
        for step in STEPS:
            draw_text(context, box, step)
