# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that "Set Up Backend" makes: where it is, what is in it, and which one is in use."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ..common.package import ADDON

RECORD = "ready.json"
# Short names: Windows allows 260 characters for a whole path, and torch needs half of them.
SLOTS = ("a", "b")


@dataclass(frozen=True)
class BackendEnvironment:
    """An environment. folder: of all environments; slot: its own folder's name there; version: of its PBRfit, empty where an
    update of it was not finished; build: of its torch (see `torch_builds`); base: the Python that made it.
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
    """The folder for environments, in the add-on's folder of the user; it may not exist yet. For the main thread."""
    return Path(bpy.utils.extension_path_user(ADDON, path="env"))


def python_in(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def finished_environment(folder: Path) -> BackendEnvironment | None:
    """The environment that was set up, or None if none was, or if its Python or the Python below it no longer exists."""
    found = environment_to_update(folder)
    return found if found is not None and found.version else None


def environment_python() -> Path | None:
    """The Python of the environment that "Set Up Backend" made, or None if there is none."""
    found = finished_environment(environments_folder())
    return found.python if found is not None else None


def unfinished(environment: BackendEnvironment) -> BackendEnvironment:
    """An environment while it is updated: it does not count as set up, but can be updated."""
    return replace(environment, version="")


def environment_to_update(folder: Path) -> BackendEnvironment | None:
    """The environment that was set up, also if an update of it was not finished; None as for `finished_environment`."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        found = BackendEnvironment(folder, record["slot"], record["version"], record["build"], record["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.slot in SLOTS and found.python.exists() else None


def keep(environment: BackendEnvironment) -> None:
    """Use this environment from now on, and remove the one before it."""
    record = {name: getattr(environment, name) for name in ("slot", "version", "build", "base")}
    temporary = environment.folder / f"{RECORD}.new"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(environment.folder / RECORD)
    for slot in SLOTS:
        if slot != environment.slot:
            shutil.rmtree(environment.folder / slot, ignore_errors=True)


def forget(folder: Path) -> None:
    """Use no environment any more."""
    (folder / RECORD).unlink(missing_ok=True)
