# SPDX-License-Identifier: GPL-3.0-or-later
"""Save the maps of a result in the layout that the command line asks for, by the installed extension's own code."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

if TYPE_CHECKING:
    from .artist_file import DriveError
else:  # this file is imported by a script, without its package
    from artist_file import DriveError

Json = dict[str, Any]


class SavedLayout:
    """The files of one request's layout. request: its name (or path), its folder beside the result, and its options."""

    def __init__(self, request: Json, extension: str) -> None:
        """extension: the package of the add-on. Raises DriveError if the layout cannot be used."""
        self._name = request["name"]
        self._folder = request["folder"]
        self._layouts = importlib.import_module(f"{extension}.protocol.map_layouts")
        self._saving = importlib.import_module(f"{extension}.saving.layout_files")
        self._materials = importlib.import_module(f"{extension}.assign.materials")
        self._shape = importlib.import_module(f"{extension}.settings.map_shape")
        self._map_size = importlib.import_module(f"{extension}.protocol.map_shape").map_size
        self._error = importlib.import_module(f"{extension}.protocol.errors").CauseAndCure
        self._options = self._layouts.OutputOptions(**request["options"])
        self._layout = self._tried(
            lambda: self._layouts.with_options(self._layouts.find_layout(self._name), self._options)
        )

    def check_names(self, plan: Any, folder: Path, replaceable: set[str]) -> None:
        """Raise DriveError before any work, if two files could have one name, or would overwrite another file. plan: of what
        will be made; folder: of the result; replaceable: names in it that may be overwritten."""
        height, width = self._map_size(self._shape.map_resolution(bpy.context.scene.pbrfit))
        names = self._tried(lambda: self._saving.possible_names(plan, self._layout, (width, height)))
        taken = [f"{self._folder}/{name}" for name in names]
        taken = [name for name in taken if name not in replaceable and (folder / name).exists()]
        if taken:
            raise DriveError(
                f"The maps would overwrite {folder / taken[0]}, which no earlier result of this object wrote.",
                "Give --out another folder, or --pattern other names.",
            )

    def files(self, target: bpy.types.Object) -> tuple[dict[str, bytes], Json]:
        """The files by name, relative to the folder of the result, and what report.json says of them. Raises DriveError."""
        materials = list(self._materials.fitted_materials(target))
        planned = self._tried(lambda: self._saving.layout_files(materials, self._layout))
        found = self._tried(lambda: self._saving.encoded_files(planned, self._options))
        files = {f"{self._folder}/{name}": data for name, data in found.items()}
        said = {
            "layout": self._layout.key,
            "files": list(files),
            "numbers": self._saving.leftover_numbers(materials, self._layout),
        }
        return files, said

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except self._error as error:
            raise DriveError(error.cause, error.cure) from error
