"""Whether the process that started this one still lives."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def parent_watch(parent_pid: int) -> Callable[[], bool]:
    """A function that says whether process `parent_pid` lives.

    For the process that started this one the answer is certain; for any other, a process that has taken over its
    number counts as alive.
    """
    if sys.platform == "win32":
        return lambda: _lives_on_windows(parent_pid)
    if os.getppid() == parent_pid:  # an orphan is adopted by another process at once, even while its parent is a zombie
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
    import ctypes

    synchronize, timed_out = 0x00100000, 0x102
    kernel = ctypes.windll.kernel32
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    try:
        return kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == timed_out
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
