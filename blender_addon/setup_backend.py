# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting up the backend: an environment of its own for it, never Blender's Python."""

from __future__ import annotations

from pathlib import Path

from . import backend_environment


def environment_python() -> Path | None:
    """The Python of the environment that "Set Up Backend" made, or None where there is none."""
    found = backend_environment.finished_environment()
    return found.python if found is not None else None
