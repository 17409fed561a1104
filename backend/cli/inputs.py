"""What a result was made of: the record in its report.json, and whether the same would be made again."""

from __future__ import annotations

import glob
import importlib.metadata
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from backend.cli.driving import DriveRequest
from backend.cli.file_stamps import is_same, stamp
from backend.cli.result_folder import read_report

TILES = {"<UDIM>": "[0-9][0-9][0-9][0-9]", "<UVTILE>": "u*_v*"}
"""What stands for a tile in an image's path, and the patterns of what may be there."""
NO_RESULT = "new"
"""The reason where there is no result yet."""
CHANGED_REPORT = "somebody has changed its report"
CLOCK_NS = 20_000_000
"""A file system's clock may be so much late."""
MOST_REASONS = 4
"""How many reasons a message lists."""


class Inputs:
    """What a run reads; made before it reads anything, so that what changes meanwhile counts as changed."""

    def __init__(self, request: DriveRequest) -> None:
        self._request = request
        self._began = time.time_ns() - CLOCK_NS
        self._blend = None if request.blend is None else stamp(request.blend)
        self._layout = [] if request.layout_file is None else [stamp(request.layout_file)]

    def record(self, links: Iterable[str]) -> dict[str, Any] | None:
        """The entry ``inputs`` of report.json; None for the demo's scene, which is no file. links: what the file uses."""
        if self._request.blend is None or self._blend is None:
            return None
        read = used_files(self._request.blend, [*links, *self._request.reads])
        files = [self._blend, *self._layout, *(stamp(path, self._began) for path in read)]
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
    try:
        return [*_other_choices(known, _chosen(request)), *_other_files(request.result.parent, report, known)]
    except (AttributeError, TypeError):
        return [CHANGED_REPORT]


def reasons_text(reasons: list[str]) -> str:
    """The reasons as one phrase."""
    more = f" and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else ""
    return ", ".join(reasons[:MOST_REASONS]) + more


def used_files(blend: Path, links: Iterable[str]) -> list[Path]:
    """The files that a .blend uses and the folder of its disk caches, in order; each tile of an image with UDIM tiles."""
    found: set[str] = set()
    for link in links:
        pattern = glob.escape(link)
        for token, tile in TILES.items():
            pattern = pattern.replace(glob.escape(token), tile)
        found.update((glob.glob(pattern) if pattern != glob.escape(link) else []) or [link])
    caches = blend.resolve().parent / f"blendcache_{blend.stem}"
    if caches.is_dir():
        found.add(str(caches))
    return [Path(path) for path in sorted(found)]


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
