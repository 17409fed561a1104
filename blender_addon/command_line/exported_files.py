# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a saved result as the files that the command line asks for, by the installed extension's own code."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

if TYPE_CHECKING:
    from .artist_file import DriveError
else:  # this file is imported by a script, without its package
    from artist_file import DriveError

Json = dict[str, Any]


class ExportedFiles:
    """What one request exports: a list of what to write, as models/write_models.py has it, with paths relative to the result."""

    def __init__(self, wanted: list[Json], extension: str, folder: Path, replaceable: set[str]) -> None:
        """extension: the package of the add-on; folder: of the result; replaceable: names in it that may be overwritten.

        Raises DriveError before any work if a file of somebody else is in the way.
        """
        self._wanted, self._extension, self._folder, self._replaceable = wanted, extension, folder, replaceable
        for item in wanted:
            if item["path"] not in replaceable and (folder / item["path"]).exists():
                raise DriveError(
                    f"The export would overwrite {folder / item['path']}, which no earlier result of this object wrote.",
                    "Give --out another folder.",
                )

    def write(self, result: Path, scene: str, layer: str, targets: list[str]) -> list[str]:
        """Write all of it from the saved result; returns the names, relative to its folder. Another file is open then.

        Raises DriveError.
        """
        work = importlib.import_module(f"{self._extension}.models.plan_work")
        error_kind = importlib.import_module(f"{self._extension}.protocol.errors").CauseAndCure
        devices = importlib.import_module(f"{self._extension}.common.render_devices")
        wanted = devices.wanted_devices(bpy.context.preferences, bpy.context.scene.pbrfit.render_device)
        written: list[str] = []
        plan = {
            "blend": str(result),
            "scene": scene,
            "view_layer": layer,
            "objects": [[name, None] for name in targets],
            "devices": wanted.to_json(),
            "files": [
                item
                | {
                    "path": str(self._folder / item["path"]),
                    "replace": [str(self._folder / name) for name in self._replaceable],
                }
                for item in self._wanted
            ],
        }
        try:
            work.write_plan(plan, lambda line: written.extend(line.get("written", [])))
        except error_kind as error:
            raise DriveError(error.cause, error.cure) from error
        return [Path(path).relative_to(self._folder).as_posix() for path in dict.fromkeys(written)]
