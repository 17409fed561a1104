"""What objects the files of a batch have, kept beside the results: so a run that has nothing to do need not look again."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.cli.batch_jobs import FileObject
from backend.cli.file_stamps import is_same, stamp
from backend.cli.inputs import used_files

FILE = "pbrfit-objects.json"
_lock = threading.Lock()


def known_objects(root: Path, blend: Path) -> list[FileObject] | None:
    """The mesh objects of a file, as noted in the folder ``root``; None where they are not, or the file is another now."""
    noted = _read(root).get(str(blend.resolve()))
    if not isinstance(noted, dict) or noted.get("pbrfit") != importlib.metadata.version("pbrfit"):
        return None
    try:
        return as_objects(noted["objects"]) if all(is_same(one) for one in noted["files"]) else None
    except (KeyError, TypeError, AttributeError):  # somebody else wrote it
        return None


def note_objects(root: Path, blend: Path, began: int, found: dict[str, Any]) -> list[FileObject]:
    """Note what a file has, if that is possible; returns it. began: in ns, when it was looked at; found: of
    drive_several.py."""
    files = [stamp(blend, began), *(stamp(path, began) for path in used_files(blend, found["links"]))]
    noted = {"pbrfit": importlib.metadata.version("pbrfit"), "files": files, "objects": found["objects"]}
    with _lock, contextlib.suppress(OSError):  # it only saves time
        root.mkdir(parents=True, exist_ok=True)
        temporary = root / f".{FILE}-{os.getpid()}"
        temporary.write_text(json.dumps({**_read(root), str(blend.resolve()): noted}), encoding="utf-8")
        os.replace(temporary, root / FILE)
    return as_objects(found["objects"])


def as_objects(listed: Sequence[dict[str, Any]]) -> list[FileObject]:
    """The objects that drive_several.py lists."""
    return [FileObject(one["name"], tuple(one["collections"])) for one in listed]


def _read(root: Path) -> dict[str, Any]:
    try:
        content = json.loads((root / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
