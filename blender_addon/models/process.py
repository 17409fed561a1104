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

from ..assign.memory import remembered
from ..common.package import shipped_file
from ..common.render_devices import DeviceUsed, wanted_devices
from ..common.second_blender import SecondBlender
from ..references.copied_file import save_copy

SCRIPT = shipped_file("models/write_models.py")


@dataclass(frozen=True)
class Written:
    """The files of one entry of a plan, its own first."""

    files: tuple[Path, ...]


@dataclass(frozen=True)
class ExportProgress:
    """How far a turntable is: 0..1."""

    fraction: float


Said = Written | ExportProgress | DeviceUsed


class ModelWriter(SecondBlender[Said]):
    """Carries out one plan; see write_models.py."""

    def __init__(self, plan: dict[str, Any], directory: Path) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start."""
        super().__init__(SCRIPT, plan, directory, self._read_entry)

    def _read_entry(self, entry: dict[str, Any]) -> Iterator[Said]:
        if "written" in entry:
            yield Written(tuple(Path(item) for item in entry["written"]))
        elif "progress" in entry:
            yield ExportProgress(entry["progress"])
        elif "device" in entry:
            yield DeviceUsed.from_json(entry)


class Export:
    """One export of objects with their new materials, from a copy of the open file to the files that are wanted."""

    def __init__(self, context: bpy.types.Context, targets: list[bpy.types.Object], wanted: dict[str, Any]) -> None:
        """Save a copy of the file and start. wanted: an entry of `files` in write_models.py. Raises PbrFitError."""
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
                "materials": new_materials_of(targets),
                "devices": wanted_devices(context.preferences, context.scene.pbrfit.render_device).to_json(),
                "files": [wanted],
            }
            self._writer = ModelWriter(plan, self._folder)
        except Exception:
            self.stop()
            raise

    def poll(self) -> list[Said]:
        """What has been said since the last call; never waits. Raises PbrFitError as the work did."""
        return self._writer.poll() if self._writer is not None else []

    def stop(self) -> None:
        """End the second Blender, and remove what is temporary."""
        if self._writer is not None:
            self._writer.stop()
            self._writer = None
        shutil.rmtree(self._folder, ignore_errors=True)


def new_materials_of(targets: list[bpy.types.Object]) -> list[list[Any]]:
    """The new materials of slots that show their originals, as `stage.put_materials` takes them."""
    return [
        [number, item.slot.slot_index, item.entry["fitted"].name]
        for number, target in enumerate(targets)
        for item in remembered(target)
        if item.entry.get("fitted") is not None and not item.shows_fitted
    ]
