# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on as Blender knows it, and the files that it ships."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

# Such as bl_ext.user_default.pbrfit: the key of the preferences and of the user's folder. Blender takes no subpackage for it.
ADDON = __package__.rpartition(".")[0]


def shipped_file(name: str) -> Path:
    """The path of a file or folder by its name from the add-on's own folder."""
    return Path(str(importlib.resources.files(ADDON) / name))
