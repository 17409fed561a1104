"""The cases of tests/scenes/cases.py: the mesh that is fitted is the one that the artist's own file shows."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import run_python

bpy = pytest.importorskip("bpy")
from scenes import cases, truth  # noqa: E402 (they need bpy)
from support.blender import second_blender  # noqa: E402

CASES = Path(cases.__file__)
TRUTH = Path(truth.__file__)
# Those whose shape depends on what the second Blender opens; other tests tell whether light and colors are right.
SHAPED = ("other_scene", "cloth_cache", "baked_nodes", "foreign_names", "scene_driver", "linked_slot_names")
SIZE, VIEWS, SAMPLES = 48, 2, 8
LEAST_AGREEMENT = 0.98


def open_case(extension: str, file: Path, name: str) -> bpy.types.Object:
    """Open a case as an artist does who wants to fit its object: in its scene, active and alone selected."""
    bpy.ops.wm.open_mainfile(filepath=str(file))
    bpy.ops.preferences.addon_enable(module=extension)
    preferences = bpy.context.preferences.addons[extension].preferences
    preferences.backend_python = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
    scene = next(item for item in (bpy.context.scene, *bpy.data.scenes) if name in item.objects)
    bpy.context.window.scene = scene
    thing = next(item for item in scene.objects if item.name == name and item.library is None)
    for item in bpy.context.view_layer.objects:
        item.select_set(item == thing)
    bpy.context.view_layer.objects.active = thing
    return thing


def shown_by_the_file(file: Path, name: str, views: list[dict[str, Any]]) -> np.ndarray:
    """The outlines [views, size, size] of the object in the file itself, from another Blender."""
    request, output = file.with_suffix(".json"), file.with_suffix(".npz")
    asked = {"blend": str(file), "object": name, "views": views, "size": SIZE, "output": str(output)}
    request.write_text(json.dumps(asked), encoding="utf-8")
    run_python(TRUTH, request)
    with np.load(output) as found:
        return np.asarray(found["outlines"])


@pytest.mark.parametrize("case", SHAPED)
def test_a_case_is_exported_as_its_file_shows_it(installed_extension: str, case: str, tmp_path: Path) -> None:
    file = tmp_path / "case.blend"
    run_python(CASES, case, file)
    name = cases.OBJECTS.get(case, "Thing")
    open_case(installed_extension, file, name)
    folder = tmp_path / "session"
    folder.mkdir()
    part = {
        path: importlib.import_module(f"{installed_extension}.{path}")
        for path in ("session.prepare", "references.process", "references.views")
    }
    (fit,) = part["session.prepare"].prepare_fits(bpy.context, folder, lambda _share: None)
    plan = second_blender.small(fit.render_plan, VIEWS, SIZE, SAMPLES)
    (outcome,) = second_blender.render(part["references.process"], part["references.views"], [plan], tmp_path)
    assert outcome.error is None
    opaque = np.stack(outcome.images)[..., 3]
    exported = truth.outlines(outcome.positions, outcome.arrays["triangles"], outcome.views, SIZE)
    assert truth.agreement(exported, opaque) >= LEAST_AGREEMENT
    assert truth.agreement(shown_by_the_file(file, name, outcome.views), opaque) >= LEAST_AGREEMENT
