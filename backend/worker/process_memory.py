"""How much memory there is, and how much of it a process takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def process_memory(pid: int) -> int | None:
    """The bytes of memory that a process holds now; None where it is gone, or the system does not say so."""
    if sys.platform != "linux" or pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None


def machine_memory() -> int | None:
    """The bytes of memory that this process and its children may take together; None where the system does not say so.

    That is what the machine has, or what a container or a service manager leaves of it.
    """
    if sys.platform != "linux":
        return None
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    return min([whole, *_group_limits(Path("/proc/self/cgroup"), _GROUPS)])


def _group_limits(membership: Path, groups: Path) -> Iterator[int]:
    """The limits of the control groups that a process is in, and of those that contain them."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _number, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        top, name = (groups / kinds, "memory.limit_in_bytes") if kinds else (groups, "memory.max")
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder != top and top not in folder.parents:
                break
            try:
                yield int((folder / name).read_text(encoding="ascii"))
            except (OSError, ValueError):  # no such group is seen from within a container, or it has no limit ("max")
                continue
