# SPDX-License-Identifier: GPL-3.0-or-later
"""The mouse's cursor for what takes seconds in one of Blender's own operators, which nothing can do beside the main thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy


@contextmanager
def wait_cursor(context: bpy.types.Context) -> Iterator[None]:
    """Show that Blender is busy, as Blender's own operators do; nothing without a window."""
    window = None if bpy.app.background else context.window
    if window is None:
        yield
        return
    window.cursor_modal_set("WAIT")
    try:
        yield
    finally:
        window.cursor_modal_restore()
