"""A watch on the process that started this one."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any


def parent_watch(parent_pid: int) -> Callable[[], bool]:
    """A function that says whether process `parent_pid` lives.

    For the process that started this one the answer is certain. For any other, a new process that has got its number
    counts as alive.
    """
    if sys.platform == "win32":
        return lambda: _lives_on_windows(parent_pid)
    if os.getppid() == parent_pid:  # an orphan gets another parent at once, even while the old one is a zombie
        return lambda: os.getppid() == parent_pid
    return lambda: _lives_on_posix(parent_pid)


def _lives_on_posix(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lives_on_windows(pid: int) -> bool:
    # os.kill(pid, 0) would send Ctrl-C there.
    synchronize, timed_out = 0x00100000, 0x102
    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]  # typed on Windows only
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == timed_out)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
