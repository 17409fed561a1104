# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether one of this Blender's windows has the keyboard's focus. Blender itself does not tell add-ons; the system does."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from typing import Any

PROCESS_OF_WINDOW = b"_NET_WM_PID"
CARDINAL = 6
MOST_PARENTS = 16
_HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def has_focus() -> bool | None:
    """Whether a window of this process has the focus; None where the system does not say, as on Wayland.

    For Blender's main thread. It takes less than a millisecond.
    """
    try:
        if sys.platform == "win32":
            return _has_focus_on_windows()
        if sys.platform == "darwin":
            return _has_focus_on_macos()
        if os.environ.get("WAYLAND_DISPLAY") or not os.environ.get("DISPLAY"):
            return None
        return _has_focus_on_x11()
    except (OSError, AttributeError):  # a library or a function of it is not there
        return None


def _has_focus_on_windows() -> bool:
    user32 = ctypes.WinDLL("user32")  # type: ignore[attr-defined,unused-ignore]
    user32.GetForegroundWindow.restype = ctypes.c_void_p
    process = ctypes.c_ulong(0)
    user32.GetWindowThreadProcessId(ctypes.c_void_p(user32.GetForegroundWindow()), ctypes.byref(process))
    return process.value == os.getpid()


def _has_focus_on_macos() -> bool:
    objc = ctypes.CDLL(ctypes.util.find_library("objc") or "libobjc.dylib")
    objc.objc_getClass.restype = objc.sel_registerName.restype = ctypes.c_void_p
    objc.objc_getClass.argtypes = objc.sel_registerName.argtypes = [ctypes.c_char_p]
    send = ctypes.cast(objc.objc_msgSend, ctypes.c_void_p).value or 0
    for_object = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(send)
    for_bool = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)(send)
    application = for_object(objc.objc_getClass(b"NSApplication"), objc.sel_registerName(b"sharedApplication"))
    return bool(for_bool(application, objc.sel_registerName(b"isActive")))


def _has_focus_on_x11() -> bool | None:
    x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    x11.XOpenDisplay.restype = x11.XSetErrorHandler.restype = ctypes.c_void_p
    x11.XSetErrorHandler.argtypes = [ctypes.c_void_p]
    display = ctypes.c_void_p(x11.XOpenDisplay(None))
    if not display:
        return None
    # A window may go while it is asked about; without this, that error would be Blender's.
    ignore = _HANDLER(lambda _display, _error: 0)
    before = x11.XSetErrorHandler(ctypes.cast(ignore, ctypes.c_void_p))
    try:
        return _belongs_to_this_process(x11, display)
    finally:
        x11.XSync(display, 0)
        x11.XSetErrorHandler(before)
        x11.XCloseDisplay(display)


def _belongs_to_this_process(x11: Any, display: ctypes.c_void_p) -> bool | None:
    """Whether the window with the focus, or one that it is in, says that it is this process's; None if none has it."""
    window, unused = ctypes.c_ulong(0), ctypes.c_int(0)
    x11.XGetInputFocus(display, ctypes.byref(window), ctypes.byref(unused))
    if window.value <= 1:  # none, or whichever is under the mouse
        return None
    x11.XInternAtom.restype = ctypes.c_ulong
    name = ctypes.c_ulong(x11.XInternAtom(display, PROCESS_OF_WINDOW, 0))
    for _ in range(MOST_PARENTS):
        process = _number_of(x11, display, window, name)
        if process is not None:
            return process == os.getpid()
        root, parent, children, count = ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_void_p(None), ctypes.c_uint(0)
        found = x11.XQueryTree(
            display, window, ctypes.byref(root), ctypes.byref(parent), ctypes.byref(children), ctypes.byref(count)
        )
        if children:
            x11.XFree(children)
        if not found or parent.value in (0, root.value):
            break
        window = parent
    return False


def _number_of(x11: Any, display: ctypes.c_void_p, window: ctypes.c_ulong, name: ctypes.c_ulong) -> int | None:
    """A property of a window that is one number; None if it has none."""
    kind, bits = ctypes.c_ulong(0), ctypes.c_int(0)
    count, left, data = ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.POINTER(ctypes.c_ulong)()
    x11.XGetWindowProperty(
        display,
        window,
        name,
        ctypes.c_long(0),
        ctypes.c_long(1),
        0,
        ctypes.c_ulong(CARDINAL),
        ctypes.byref(kind),
        ctypes.byref(bits),
        ctypes.byref(count),
        ctypes.byref(left),
        ctypes.byref(data),
    )
    if not data:
        return None
    value = int(data[0]) if count.value and bits.value == 32 else None
    x11.XFree(data)
    return value
