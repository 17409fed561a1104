# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that "Set Up Backend" makes: where it lies, what is in it, and the one that counts."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..common.package import ADDON

RECORD = "ready.json"
# Short, and so are the names below it: Windows allows 260 characters for a whole path, of which torch needs half.
SLOTS = ("a", "b")


@dataclass(frozen=True)
class Environment:
    """An environment. folder: of them all; slot: its own folder's name there; version: of PBRfit in it; build: of torch
    (see `torch_builds`); base: the Python it was made with.
    """

    folder: Path
    slot: str
    version: str
    build: str
    base: str

    @property
    def python(self) -> Path:
        """Its Python."""
        return python_in(self.folder / self.slot)


def environments_folder() -> Path:
    """The folder for environments, in the add-on's own folder among the user's files; need not exist. Main thread."""
    return Path(bpy.utils.extension_path_user(ADDON, path="env"))


def python_in(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def finished_environment(folder: Path) -> Environment | None:
    """The environment that was set up, or None where none was, or where it or the Python below it has gone."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        found = Environment(folder, record["slot"], record["version"], record["build"], record["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.slot in SLOTS and found.python.exists() else None


def keep(environment: Environment) -> None:
    """Make an environment the one that counts, and remove the one before it."""
    record = {name: getattr(environment, name) for name in ("slot", "version", "build", "base")}
    temporary = environment.folder / f"{RECORD}.new"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(environment.folder / RECORD)
    for slot in SLOTS:
        if slot != environment.slot:
            shutil.rmtree(environment.folder / slot, ignore_errors=True)


def forget(folder: Path) -> None:
    """Let no environment count any more."""
    (folder / RECORD).unlink(missing_ok=True)
