# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of what a fit makes: materials by the artist's scheme, and files that never replace another file."""

from __future__ import annotations

import re
import string
from pathlib import Path

from .errors import PbrFitError

RECORD = "pbrfit"
"""Key of the custom property on everything that PBRfit makes."""
DEFAULT_SCHEME = "{material} PBRfit"
FIELDS = ("object", "material")
LONGEST_NAME = 58  # bytes: Blender allows 63 (before 5.0) and adds ".001" to a name that exists already
LONGEST_FILE_NAME = 80


def material_name(scheme: str, object_name: str, set_name: str) -> str:
    """The name that a scheme such as "{object} {material}" gives; `set_name` fills {material}.

    Raises PbrFitError if the scheme is empty or has another field.
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
            f'PBRfit cannot use the naming scheme "{scheme}".',
            "Use only {object} and {material} in curly brackets.",
        ) from error
    if not name:
        raise PbrFitError("The naming scheme for materials is empty.", f'Write one such as "{DEFAULT_SCHEME}".')
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")


def file_stem(name: str) -> str:
    """`name` as the start of a file name that every system allows."""
    stem = re.sub(r"[^\w.-]+", "_", name).strip("._")[:LONGEST_FILE_NAME]
    return stem or "pbrfit"


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """A path in `folder` that does not exist yet: stem + suffix, or with a number between them."""
    path, number = folder / f"{stem}{suffix}", 0
    while path.exists():
        number += 1
        path = folder / f"{stem}_{number:03d}{suffix}"
    return path
