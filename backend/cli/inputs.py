"""What a result was made of: the record in its report.json, and whether the same would be made again.

A file counts as the same where its size and its time of change are, or, after another time, where its bytes are.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from backend.cli.driving import DriveRequest
from backend.cli.result_folder import read_report

UDIM = "<UDIM>"
MISSING = "missing"
NO_RESULT = "new"
"""The reason where there is no result yet."""
CLOCK_NS = 20_000_000
"""A file system's clock may be so much late."""
MOST_REASONS = 4
"""How many reasons a message lists."""

Stamp = dict[str, Any]
"""A file or folder as it was: ``path``, ``size`` in bytes, ``modified`` in ns, ``sha256``; or ``missing``."""


class Inputs:
    """What a run reads; made before it reads anything, so that what changes meanwhile counts as changed."""

    def __init__(self, request: DriveRequest) -> None:
        self._request = request
        self._began = time.time_ns() - CLOCK_NS
        self._blend = None if request.blend is None else stamp(request.blend)

    def record(self, links: Iterable[str]) -> dict[str, Any] | None:
        """The entry ``inputs`` of report.json; None for the demo's scene, which is no file. links: what the file uses."""
        if self._request.blend is None or self._blend is None:
            return None
        files = [
            self._blend,
            *(stamp(path, self._began) for path in used_files(self._request.blend, [*links, *self._request.reads])),
        ]
        return {**_chosen(self._request), "files": files}


def why_again(request: DriveRequest) -> list[str]:
    """Why the result in the request's folder is not what the request would make; empty: it is up to date.

    Starts nothing; it reads only report.json, and files whose time of change is another.
    """
    report = read_report(request.result.parent)
    if {key: report.get(key) for key in ("file", "object")} != request.owner.as_json():
        return [NO_RESULT]
    known = report.get("inputs")
    if not isinstance(known, dict):
        return ["an earlier run did not finish it, or did not note its inputs"]
    return [*_other_choices(known, _chosen(request)), *_other_files(request.result.parent, report, known)]


def reasons_text(reasons: list[str]) -> str:
    """The reasons as one phrase."""
    more = f" and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else ""
    return ", ".join(reasons[:MOST_REASONS]) + more


def used_files(blend: Path, links: Iterable[str]) -> list[Path]:
    """The files that a .blend uses and the folder of its disk caches, in order; each tile of an image with UDIM tiles."""
    found: set[str] = set()
    for link in links:
        tiles = glob.glob(glob.escape(link).replace(glob.escape(UDIM), "[0-9][0-9][0-9][0-9]")) if UDIM in link else []
        found.update(tiles or [link])
    caches = blend.resolve().parent / f"blendcache_{blend.stem}"
    if caches.is_dir():
        found.add(str(caches))
    return [Path(path) for path in sorted(found)]


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


def blender_stamp(binary: str | None) -> dict[str, Any]:
    """Which Blender it is: the program as a file, or the version of the module bpy."""
    if binary is not None:
        found = shutil.which(binary)
        return stamp(Path(found if found is not None else binary))
    try:
        return {"bpy": importlib.metadata.version("bpy")}
    except importlib.metadata.PackageNotFoundError:
        return {"bpy": None}


def _chosen(request: DriveRequest) -> dict[str, Any]:
    return {
        "button": request.button,
        "options": request.options,
        "pbrfit": importlib.metadata.version("pbrfit"),
        "blender": blender_stamp(request.blender),
    }


def _other_choices(known: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    if known.get("button") != wanted["button"]:
        yield f"was made by {known.get('button')}"
    if known.get("pbrfit") != wanted["pbrfit"]:
        yield f"PBRfit {wanted['pbrfit']}, was {known.get('pbrfit')}"
    if known.get("blender") != wanted["blender"]:
        yield "another Blender"
    before, now = known.get("options"), wanted["options"]
    before = before if isinstance(before, dict) else {}
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield f"{name.replace('_', '-')} {_shown(now.get(name))}, was {_shown(before.get(name))}"


def _other_files(folder: Path, report: dict[str, Any], known: dict[str, Any]) -> Iterator[str]:
    for name in report.get("files") or ():
        if not (folder / str(name)).exists():
            yield f"{name} is gone"
    for one in known.get("files") or ():
        if not is_same(one):
            yield f"{one.get('path')} changed"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else "not given" if value is None else str(value)


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
