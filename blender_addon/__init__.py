# SPDX-License-Identifier: GPL-3.0-or-later
"""PBRfit for Blender: fit one clean physically based material to any look of an object."""

from __future__ import annotations

from .overlay import overlay
from .preflight import fixes, verdicts
from .preview.engine import engine
from .preview.scene import light
from .session import handlers
from .session.session import end_session
from .settings import preferences, properties
from .settings import preview as preview_settings  # `preview` is a folder here
from .setup.backend_process import stop_local_backend
from .translations import translate
from .ui import (
    announcements,
    manual,
    operators,
    operators_result,
    operators_setup,
    operators_unseen,
    operators_verdict,
    outcome,
    panels,
    preset_menu,
    preview_panels,
    settings_panels,
)

PARTS = (
    translate,
    preferences,
    properties,
    preview_settings,
    operators_setup,
    operators,
    fixes,
    verdicts,
    operators_result,
    operators_verdict,
    operators_unseen,
    overlay,
    outcome,
    preset_menu,
    announcements,
    panels,
    settings_panels,
    light,
    engine,
    preview_panels,
    manual,
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
