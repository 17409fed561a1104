# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this build of the add-on sets up the backend: the one for extensions.blender.org leaves out the files for it."""

from __future__ import annotations

import importlib.util

SETS_UP = importlib.util.find_spec(f"{__package__}.install") is not None
"""Whether the add-on can set up the backend itself."""

SET_UP = (
    'Press "Set Up Backend" in the preferences of the add-on PBRfit, or choose there a Python that has it.'
    if SETS_UP
    else "Install PBRfit's backend into a Python of yours, and choose that one in the preferences of the add-on PBRfit."
)
"""What to do where there is no backend."""

LACKS_CONNECTION = (
    "This Blender has no pyzmq, without which PBRfit cannot connect to its backend.",
    "Install PBRfit's zip in Blender again."
    if SETS_UP
    else "Bake Maps works without it. extensions.blender.org accepts no compiled packages: for Optimize Materials, "
    "install PBRfit's own zip in place of this extension.",
)
"""Cause and cure where this add-on cannot connect to any backend."""
