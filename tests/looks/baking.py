"""Bake looks by the button of the add-on, as an artist does, and start the judges in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bpy
from looks.catalogue import LOOKS, build_looks
from looks.look import Look
from support.blender.scenes import run_to_end

FOLDER = Path(__file__).parent
TIMEOUT_S = 600.0
Request = list[dict[str, Any]]


def bake_looks(
    addon: Any, names: Iterable[str], target: str, resolution: int, path: Path, looks: Mapping[str, Look] = LOOKS
) -> Request:
    """Bake looks in the empty open file, and save it; returns what to ask the judges.

    A look whose slots have their own materials still was not baked: the assertion says why.
    """
    things = build_looks(names, looks)
    before = {thing.name: [slot.material for slot in thing.material_slots] for thing in things}
    settings = bpy.context.scene.pbrfit
    settings.bake_target, settings.resolution, settings.supersampling = target, resolution, "2"
    assert bpy.ops.pbrfit.bake_maps() == {"FINISHED"}
    session = addon.session.session.current()
    run_to_end(session)
    assert session.status.state == "done", session.status
    for name, materials in before.items():
        now = [slot.material for slot in bpy.data.objects[name].material_slots]
        assert not set(now) & set(materials), f"{name} was not baked: {session.status}"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)
    return [{"look": name, "object": name, "blend": str(path)} for name in before]


def ask(script: str, looks: Request, folder: Path, **settings: int) -> dict[str, Any]:
    """What judge.py or equality.py says of looks, by their names. folder: for its files."""
    request, output = folder / f"{script}.json", folder / f"{script}_found.json"
    request.write_text(json.dumps({"looks": looks, "output": str(output), **settings}), encoding="utf-8")
    command = [sys.executable, str(FOLDER / script), str(request)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found
