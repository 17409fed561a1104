# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of what a fit makes: the artist's scheme for materials, and files that never take another's place."""

from __future__ import annotations

import re
import string
from pathlib import Path

from .errors import PbrFitError

RECORD = "pbrfit"
"""Key of the custom property that everything made by PBRfit bears."""
DEFAULT_SCHEME = "{material} PBRfit"
FIELDS = ("object", "material")
LONGEST_NAME = 58  # bytes: Blender's 63 (before 5.0), less the ".001" of a name that is taken
LONGEST_FILE_NAME = 80


def material_name(scheme: str, object_name: str, set_name: str) -> str:
    """The name that a scheme such as "{object} {material}" gives; `set_name` fills {material}.

    Raises PbrFitError where the scheme is empty or holds another field.
    """
    try:
        parts = list(string.Formatter().parse(scheme))
        fields = [field for _, field, _, _ in parts if field is not None]
        plain = all(not form and not conversion for _, _, form, conversion in parts)
        if not plain or not set(fields) <= set(FIELDS):
            raise ValueError
        name = scheme.format(object=object_name, material=set_name).strip()
    except (ValueError, IndexError, KeyError) as error:
        raise PbrFitError(
            f'The naming scheme "{scheme}" cannot be used.',
            "Write names with {object} and {material} in curly brackets, and nothing else in such brackets.",
        ) from error
    if not name:
        raise PbrFitError("The naming scheme for materials is empty.", f'Write one such as "{DEFAULT_SCHEME}".')
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")


def file_stem(name: str) -> str:
    """`name` as the beginning of a file name on every system."""
    stem = re.sub(r"[^\w.-]+", "_", name).strip("._")[:LONGEST_FILE_NAME]
    return stem or "pbrfit"


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """A path in `folder` that nothing has: stem + suffix, or with a number between them."""
    path, number = folder / f"{stem}{suffix}", 0
    while path.exists():
        number += 1
        path = folder / f"{stem}_{number:03d}{suffix}"
    return path
