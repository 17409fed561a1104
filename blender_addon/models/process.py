# SPDX-License-Identifier: GPL-3.0-or-later
"""The second Blender that writes models: this one stays free, and nothing of the artist's file is touched."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..common.package import shipped_file
from ..common.second_blender import SecondBlender
from ..references.copied_file import save_copy

SCRIPT = shipped_file("models/write_models.py")


@dataclass(frozen=True)
class Written:
    """The files of a model, its own first."""

    files: tuple[Path, ...]


class ModelWriter(SecondBlender[Written]):
    """Carries out one plan; see write_models.py."""

    def __init__(self, plan: dict[str, Any], directory: Path) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start."""
        super().__init__(SCRIPT, plan, directory, self._read_entry)

    def _read_entry(self, entry: dict[str, Any]) -> Iterator[Written]:
        if "written" in entry:
            yield Written(tuple(Path(item) for item in entry["written"]))


class Export:
    """One export of objects from the open file, from its copy to its files."""

    def __init__(self, context: bpy.types.Context, targets: list[bpy.types.Object], models: list[dict[str, Any]]) -> None:
        """Save a copy of the file and start. models: as in write_models.py. Raises PbrFitError if that fails."""
        self._folder = Path(tempfile.mkdtemp(prefix="pbrfit_export_", dir=bpy.app.tempdir or None))
        self._writer: ModelWriter | None = None
        try:
            copy = save_copy(self._folder / "copy")
            plan = {
                "blend": str(copy.path),
                "cache_folders": copy.folders,
                "use_scripts": not bpy.app.autoexec_fail,
                "scene": context.scene.name,
                "view_layer": context.view_layer.name,
                "objects": [[item.name, item.library.filepath if item.library else None] for item in targets],
                "models": models,
            }
            self._writer = ModelWriter(plan, self._folder)
        except Exception:
            self.stop()
            raise

    def poll(self) -> list[Written]:
        """What has been written since the last call; never waits. Raises PbrFitError as the work did."""
        return self._writer.poll() if self._writer is not None else []

    def stop(self) -> None:
        """End the second Blender, and remove what is temporary."""
        if self._writer is not None:
            self._writer.stop()
            self._writer = None
        shutil.rmtree(self._folder, ignore_errors=True)
