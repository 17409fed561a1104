# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist does to the file while a fit runs: undo, redo, save, load. The session is told."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import session


@persistent
def file_will_change(*_arguments: object) -> None:
    """Before undo, redo, save and load."""
    if session.current() is not None:
        session.current().file_will_change()


@persistent
def file_loaded(*_arguments: object) -> None:
    """After load."""
    if session.current() is not None:
        session.current().file_loaded()


@persistent
def file_saved(*_arguments: object) -> None:
    """After save."""
    if session.current() is not None:
        session.current().file_saved()


HANDLERS = {
    "undo_pre": file_will_change,
    "redo_pre": file_will_change,
    "save_pre": file_will_change,
    "load_pre": file_will_change,
    "load_post": file_loaded,
    "save_post": file_saved,
}


def register() -> None:
    """Have Blender tell."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Tell no longer."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
