# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan of write_models.py in this Blender."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..common.errors import PbrFitError
from ..common.names import RECORD
from ..protocol.model_kinds import GLTF, KINDS, MATERIALX, ModelKind
from ..references import stage
from ..references.plan_work import open_file
from .beside import Beside, folder_of, write_maps
from .contact_sheet import render_sheet
from .exporters import check_tiles, export
from .gltf.kept import Kept, write_kept
from .gltf.suited import suit_gltf
from .materialx import document
from .picture_scene import PictureScene
from .placing import place
from .plain_objects import plain_objects
from .turntable import PNG, render_turntable

Json = dict[str, Any]
Say = Callable[[Json], None]


def write_plan(plan: Json, report: Say) -> None:
    """Do what a plan asks for; call `report` with its lines.

    Raises PbrFitError if the file lacks what the plan names, if a kind of file cannot hold it, or if a file is in the way.
    """
    for item in plan["files"]:
        opened = OpenedFile(plan)  # each changes the file for itself
        with tempfile.TemporaryDirectory(prefix="pbrfit_models_", dir=bpy.app.tempdir or None) as folder:
            made, work, path = Path(folder, "made"), Path(folder, "work"), Path(item["path"])
            made.mkdir()
            work.mkdir()
            if item["what"] == "model":
                opened.write_model(KINDS[item["kind"]], made / path.name, work)
            elif item["what"] == "turntable":
                pictures = opened.pictures(clear=item["form"] == PNG)
                render_turntable(pictures, item | {"devices": plan["devices"]}, made / path.name, report)
            else:
                render_sheet(opened.pictures(clear=False), opened.new_materials(), item, made / path.name, work)
            report({"written": [str(file) for file in place(made, path, item["replace"])]})


class OpenedFile:
    """The file of a plan, opened, in which only plain copies of the plan's objects are left to be seen."""

    def __init__(self, plan: Json) -> None:
        """Raises PbrFitError if the file lacks what the plan names."""
        open_file(plan)
        self._scene, self._layer = stage.find_scene(plan["scene"], plan["view_layer"])
        where = f'the scene "{self._scene.name}"'
        targets = [stage.find(self._scene.objects, (name, library), where) for name, library in plan["objects"]]
        stage.put_materials(targets, plan.get("materials", []))
        window = bpy.context.window
        window.scene, window.view_layer = self._scene, self._layer
        shown = stage.show_alone(self._scene, self._layer, targets)
        self.objects = plain_objects(self._layer, targets, shown)

    def materials(self) -> list[bpy.types.Material]:
        """The materials of the objects, each once."""
        found = [slot.material for item in self.objects for slot in item.material_slots if slot.material is not None]
        return list(dict.fromkeys(found))

    def new_materials(self) -> list[bpy.types.Material]:
        """Those that PBRfit made."""
        return [item for item in self.materials() if RECORD in item]

    def pictures(self, clear: bool) -> PictureScene:
        """The objects in a scene of their own, before a camera."""
        return PictureScene(self._scene, self._layer, self.objects, clear)

    def write_model(self, kind: ModelKind, path: Path, work: Path) -> None:
        """Write the objects as one kind of file into a folder of its own. work: for what is temporary. Raises PbrFitError."""
        if not kind.tiles:
            check_tiles(kind, self.materials())
        kept: dict[str, Kept] = {}
        if kind.writer == GLTF:
            kept = {material.name: suit_gltf(material, self.objects, work) for material in self.new_materials()}
        beside = write_maps(kind, self.materials(), path) if kind.layout else Beside({}, {})
        if kind.writer == MATERIALX:
            try:
                path.write_text(document(kind, self.new_materials(), beside), encoding="utf-8")
            except OSError as error:
                raise PbrFitError(f"{path} cannot be written: {error.strerror}.", "Make room on the disk.") from error
            return
        beside.show(self.objects)
        export(kind, path)
        write_kept(path, kept, folder_of(path))
