# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that "Set Up Backend" makes: where it lies, and which Python it is made with."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import bpy

RECORD = "ready.json"
# Short, and so are the names below it: Windows allows 260 characters for a whole path, of which torch needs half.
SLOTS = ("a", "b")


@dataclass(frozen=True)
class Environment:
    """A finished environment. slot: its folder's name; version: of PBRfit in it; torch: "cpu" or "cuda"."""

    slot: str
    version: str
    torch: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return environments_folder() / self.slot

    @property
    def python(self) -> Path:
        """Its Python."""
        return python_in(self.folder)


def environments_folder() -> Path:
    """The folder for environments, in the add-on's own folder among the user's files; need not exist."""
    return Path(bpy.utils.extension_path_user(__package__, path="env"))


def python_in(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def finished_environment() -> Environment | None:
    """The environment that was set up, or None where none was or it has gone."""
    try:
        record = json.loads((environments_folder() / RECORD).read_text(encoding="utf-8"))
        found = Environment(record["slot"], record["version"], record["torch"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.slot in SLOTS and found.python.exists() else None


def keep(environment: Environment) -> None:
    """Make an environment the one that counts, and remove what lies beside it."""
    folder = environments_folder()
    temporary = folder / f"{RECORD}.new"
    temporary.write_text(json.dumps(asdict(environment)), encoding="utf-8")
    temporary.replace(folder / RECORD)
    for slot in SLOTS:
        if slot != environment.slot:
            shutil.rmtree(folder / slot, ignore_errors=True)


def remove_all() -> None:
    """Remove every environment; files in use may stay behind, but count no longer."""
    folder = environments_folder()
    (folder / RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
