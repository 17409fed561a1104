# SPDX-License-Identifier: GPL-3.0-or-later
"""PBRfit for Blender: fit one clean physically based material to any look of an object."""

from __future__ import annotations

from .preflight import fixes as operators_mend
from .preview.engine import engine
from .preview.scene import light as preview_light
from .session import handlers
from .session.session import end_session
from .settings import preferences, properties
from .settings import preview as engine_settings
from .setup.backend_process import stop_local_backend
from .ui import operators, operators_result, operators_setup, panels
from .ui import preview_panels as engine_panels

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
