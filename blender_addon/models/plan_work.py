# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan of write_models.py in this Blender."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..common.errors import PbrFitError
from ..protocol.model_kinds import KINDS, MATERIALX, ModelKind
from ..references import stage
from ..references.plan_work import open_file
from .beside import Beside, write_maps
from .exporters import export
from .materialx import document
from .placing import place
from .plain_objects import plain_objects

Json = dict[str, Any]


def write_plan(plan: Json, report: Callable[[Json], None]) -> None:
    """Do what a plan asks for; call `report` with the line for each model.

    Raises PbrFitError if the file lacks what the plan names, if a kind of file cannot hold it, or if a file is in the way.
    """
    for model in plan["models"]:
        open_file(plan)  # each kind changes the materials for itself
        scene, layer = stage.find_scene(plan["scene"], plan["view_layer"])
        targets = [
            stage.find(scene.objects, (name, library), f'the scene "{scene.name}"') for name, library in plan["objects"]
        ]
        with tempfile.TemporaryDirectory(prefix="pbrfit_models_", dir=bpy.app.tempdir or None) as made:
            path = Path(model["path"])
            made_file = Path(made, path.name)
            write_model(KINDS[model["kind"]], scene, layer, targets, made_file)
            report({"written": [str(item) for item in place(Path(made), path, bool(model["replace"]))]})


def write_model(
    kind: ModelKind, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, targets: list[bpy.types.Object], path: Path
) -> None:
    """Write objects as one kind of file into a folder of its own. The open file is changed. Raises PbrFitError."""
    window = bpy.context.window
    window.scene, window.view_layer = scene, layer
    stage.show_alone(scene, layer, targets)
    objects = plain_objects(scene, layer, targets)
    used = list(dict.fromkeys(slot.material for item in objects for slot in item.material_slots if slot.material))
    beside = write_maps(kind, used, path) if kind.layout else Beside({}, {})
    if kind.writer == MATERIALX:
        try:
            path.write_text(document(kind, used, beside), encoding="utf-8")
        except OSError as error:
            raise PbrFitError(f"{path} cannot be written: {error.strerror}.", "Make room on the disk.") from error
        return
    beside.show(objects)
    export(kind, objects, path)
