# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out one request after the other in one windowless Blender: those of drive.py, and lists of a file's objects.

    python drive_several.py anything.json                                    (bpy installed as a Python module)
    blender --background --factory-startup --python drive_several.py -- anything.json

Each line on standard input is the path of a request: what drive.py says, or ``{"list": FILE}``, which asks what a .blend has:
``{"objects": [{"name", "collections"}], "links": [...]}``. The extension is installed once, and a backend that it starts
stays for the next request.

Events are those of drive.py; each request ends with one of {"done": true}, {"error": ...} and {"cancelled": true}, and after an
error the next request is carried out. When standard input ends, the work is cancelled and this process ends.
"""

from __future__ import annotations

import functools
import json
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

if TYPE_CHECKING:
    from .artist_file import linked_files, open_file
    from .drive import answer, drive, remove_extension, speaker
    from .script import own_stdout, run
else:  # this file runs as a script, without its package
    sys.path.insert(0, str(Path(__file__).parent))
    from artist_file import linked_files, open_file
    from drive import answer, drive, remove_extension, speaker
    from script import own_stdout, run

Json = dict[str, Any]


def objects_of(path: str) -> Json:
    """The mesh objects of a file's scenes that have a material, each with all collections that it is in, and what the file
    uses. Raises DriveError."""
    open_file(path)
    shown = {item.name: item for scene in bpy.data.scenes for item in scene.objects}
    collections = [*bpy.data.collections, *(scene.collection for scene in bpy.data.scenes)]
    inside: dict[str, set[str]] = {}
    for collection in collections:
        for item in collection.all_objects:
            inside.setdefault(item.name, set()).add(collection.name)
    fit_for_it = [
        item for item in shown.values() if item.type == "MESH" and any(slot.material for slot in item.material_slots)
    ]
    listed = [{"name": item.name, "collections": sorted(inside.get(item.name, ()))} for item in fit_for_it]
    return {"objects": sorted(listed, key=lambda item: str(item["name"])), "links": linked_files()}


def main(_arguments: list[str]) -> int:
    """Carry out requests until standard input ends; 0."""
    stdout = own_stdout()
    cancelled = threading.Event()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line.strip())
        cancelled.set()
        requests.put("")

    threading.Thread(target=read, name="PBRfit requests", daemon=True).start()
    say = speaker(stdout, cancelled)
    while path := requests.get():
        request = json.loads(Path(path).read_text(encoding="utf-8"))
        if "list" in request:
            answer(functools.partial(objects_of, request["list"]), say)
        else:
            answer(functools.partial(drive, request, say, cancelled), say)
    remove_extension()
    return 0


if __name__ == "__main__":
    run(main)
