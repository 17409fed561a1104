# SPDX-License-Identifier: GPL-3.0-or-later
"""PBRfit for Blender: fit one clean physically based material to any look of an object."""

from __future__ import annotations

from . import (
    engine,
    engine_panels,
    engine_settings,
    handlers,
    operators,
    operators_mend,
    operators_result,
    operators_setup,
    panels,
    preferences,
    preview_light,
    properties,
)
from .backend_process import stop_local_backend
from .session import end_session

PARTS = (
    preferences,
    properties,
    engine_settings,
    operators_setup,
    operators,
    operators_mend,
    operators_result,
    panels,
    preview_light,
    engine,
    engine_panels,
    handlers,
)


def register() -> None:
    """Register everything."""
    for part in PARTS:
        part.register()


def unregister() -> None:
    """End the fit and the backend, and unregister everything."""
    end_session()
    stop_local_backend()
    for part in reversed(PARTS):
        part.unregister()
