# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for Blender's main thread, requested by the thread of a render."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import bpy

LOOK_SECONDS = 0.05
Result = TypeVar("Result")


def in_main_thread(function: Callable[[], Result], while_waiting: Callable[[], object] = lambda: None) -> Result:
    """Call a function in Blender's main thread, wait for it, and return what it returns or raise what it raises.

    while_waiting: called while the caller waits. If it raises, the wait ends, and a function that has not started yet
    is not called. A render with F12 has its own thread if Blender has a window; timers run only then.
    """
    if threading.current_thread() is threading.main_thread():
        return function()
    done, given_up = threading.Event(), threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            if not given_up.is_set():
                results.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    bpy.app.timers.register(call, first_interval=0.0)
    try:
        while not done.wait(LOOK_SECONDS):
            while_waiting()
    except BaseException:
        given_up.set()
        with contextlib.suppress(ValueError):  # it has started
            bpy.app.timers.unregister(call)
        raise
    if errors:
        raise errors[0]
    return results[0]
