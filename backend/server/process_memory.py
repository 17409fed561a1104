"""How much memory a process takes."""

from __future__ import annotations

import os
import sys


def process_memory(pid: int) -> int | None:
    """The bytes of memory that a process holds now; None where it is gone, or the system does not say so."""
    if sys.platform != "linux" or pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None
