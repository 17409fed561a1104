# SPDX-License-Identifier: GPL-3.0-or-later
"""PBRfit for Blender: fit one clean physically based material to any look of an object."""

from __future__ import annotations

from types import ModuleType

from .models.gltf.restoring import glTF2ImportUserExtension as glTF2ImportUserExtension  # for Blender's importer
from .overlay import overlay
from .preflight import fixes, verdicts
from .preview.engine import engine
from .preview.scene import baked_looks, light
from .session import handlers
from .session.session import end_session
from .settings import output, preferences, properties
from .settings import preview as preview_settings  # `preview` is a folder here
from .settings import wipe as wipe_settings  # and so is `wipe`
from .setup.backend_process import stop_local_backend
from .setup.offer import SETS_UP
from .translations import translate
from .ui import (
    announcements,
    manual,
    operators,
    operators_backend,
    operators_export,
    operators_result,
    operators_save,
    operators_unseen,
    operators_verdict,
    operators_wipe,
    outcome,
    output_panel,
    panels,
    preset_menu,
    preview_panels,
    settings_panels,
)
from .wipe import wipe

if SETS_UP:
    from .ui import operators_setup

    SETUP: tuple[ModuleType, ...] = (operators_setup,)
else:
    SETUP = ()

PARTS = (
    translate,
    preferences,
    properties,
    output,
    preview_settings,
    wipe_settings,
    operators_backend,
    *SETUP,
    operators,
    fixes,
    verdicts,
    operators_result,
    operators_save,
    operators_export,
    operators_verdict,
    operators_unseen,
    overlay,
    operators_wipe,
    outcome,
    preset_menu,
    announcements,
    panels,
    settings_panels,
    output_panel,
    light,
    baked_looks,
    engine,
    wipe,
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
