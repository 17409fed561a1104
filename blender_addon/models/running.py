# SPDX-License-Identifier: GPL-3.0-or-later
"""The export that runs in this Blender, of which there is at most one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ..common.errors import PbrFitError
from .process import Export, ExportProgress, Written


@dataclass
class RunningExport:
    """An export. path: the file that it writes; fraction: how far it is, if that is known; files: what it has written; done:
    whether it has ended; error: why it failed, or None."""

    path: Path
    export: Export
    fraction: float | None = None
    files: list[Path] = field(default_factory=list)
    done: bool = False
    error: PbrFitError | None = None

    def poll(self) -> bool:
        """Take in what has been said; returns whether anything has. Never waits."""
        if self.done:
            return False
        came = False
        try:
            for said in self.export.poll():
                came = True
                if isinstance(said, ExportProgress):
                    self.fraction = said.fraction
                elif isinstance(said, Written):
                    self.files, self.done = list(said.files), True
        except PbrFitError as error:
            self.error, self.done = error, True
        if self.done:
            self.export.stop()
        return came or self.done

    def cancel(self) -> None:
        """End it; no file is left."""
        self.done = True
        self.export.stop()


_running: RunningExport | None = None


def current() -> RunningExport | None:
    """The export that runs, or None."""
    return _running if _running is not None and not _running.done else None


def begin(
    context: bpy.types.Context, targets: list[bpy.types.Object], path: Path, wanted: dict[str, Any]
) -> RunningExport:
    """Start an export; see `Export`. Raises PbrFitError."""
    global _running
    _running = RunningExport(path, Export(context, targets, wanted | {"path": str(path)}))
    return _running


def end() -> None:
    """End an export that runs."""
    if (running := current()) is not None:
        running.cancel()
