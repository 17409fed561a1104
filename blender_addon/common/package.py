# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's name in Blender, and the files that it ships."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

# Such as bl_ext.user_default.pbrfit: the key of the preferences and of the user's folder. Blender accepts no subpackage.
ADDON = __package__.rpartition(".")[0]


def shipped_file(name: str) -> Path:
    """The path of a file or folder, named relative to the add-on's own folder."""
    return Path(str(importlib.resources.files(ADDON) / name))
