"""Files as they were, so that a later run can tell whether they are the same.

A file counts as the same where its size and its time of change are, or, after another time, where its bytes are.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

MISSING = "missing"

Stamp = dict[str, Any]
"""A file or folder as it was: ``path``, ``size`` in bytes, ``modified`` in ns, ``sha256``; or ``missing``."""


def stamp(path: Path, before: int | None = None) -> Stamp:
    """A file as it is now. before: a time in ns; a file that changed since then has no hash, so it is never the same."""
    path = path.resolve()
    try:
        size, modified = _size_and_time(path)
        if before is not None and modified >= before:
            return {"path": str(path), "size": size, "modified": 0, "sha256": ""}
        return {"path": str(path), "size": size, "modified": modified, "sha256": _content(path, size, modified)}
    except OSError:
        return {"path": str(path), MISSING: True}


def is_same(known: Stamp) -> bool:
    """Whether a file is as its stamp says."""
    path = Path(str(known.get("path")))
    try:
        size, modified = _size_and_time(path)
        if known.get(MISSING) or size != known.get("size"):
            return False
        return modified == known.get("modified") or _content(path, size, modified) == known.get("sha256")
    except OSError:
        return bool(known.get(MISSING))


def _size_and_time(path: Path) -> tuple[int, int]:
    """Bytes, and ns of the last change; of a folder those of all files in it, and of the newest. Raises OSError."""
    found = path.stat()
    if not path.is_dir():
        return found.st_size, found.st_mtime_ns
    inside = [one.stat() for one in _files_in(path)]
    return sum(one.st_size for one in inside), max((one.st_mtime_ns for one in inside), default=0)


@functools.lru_cache(maxsize=4096)
def _content(path: Path, _size: int, _modified: int) -> str:
    """The SHA-256 of a file's bytes; of a folder that of the names, sizes and times in it. Raises OSError."""
    if path.is_dir():
        lines = [f"{one.relative_to(path)} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in _files_in(path)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_in(folder: Path) -> list[Path]:
    return sorted(Path(place) / name for place, _folders, names in os.walk(folder) for name in names)
