# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the session what the artist does to the file while a fit or bake runs: undo, redo, save, load."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import session


@persistent
def file_will_change(*_arguments: object) -> None:
    """Before undo, redo, save and load."""
    current = session.current()
    if current is not None:
        current.file_will_change()


@persistent
def file_loaded(*_arguments: object) -> None:
    """After load."""
    current = session.current()
    if current is not None:
        current.file_loaded()


@persistent
def file_saved(*_arguments: object) -> None:
    """After save."""
    current = session.current()
    if current is not None:
        current.file_saved()


HANDLERS = {
    "undo_pre": file_will_change,
    "redo_pre": file_will_change,
    "save_pre": file_will_change,
    "load_pre": file_will_change,
    "load_post": file_loaded,
    "save_post": file_saved,
}


def register() -> None:
    """Give the handlers to Blender."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Take the handlers back."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
