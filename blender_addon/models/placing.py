# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the files of an export where they belong; what is there already and belongs to something else stays."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from ..common.errors import PbrFitError


def place(made: Path, path: Path, replace: bool | list[str]) -> list[Path]:
    """Move all files of the folder `made` into the folder of `path`; returns where they are, `path` first.

    replace: whether the artist has agreed that `path` is overwritten, and so what belongs to it; or the paths that may be.
    Another file that is there with the same bytes is used, and with others raises PbrFitError, before anything is moved.
    """
    files = {item: path.parent / item.relative_to(made) for item in sorted(made.rglob("*")) if item.is_file()}
    if replace is not True:
        may = set(replace or [])
        for source, target in files.items():
            if (
                str(target) not in may
                and target.exists()
                and not (target.is_file() and filecmp.cmp(source, target, shallow=False))
            ):
                raise PbrFitError(f"{target} exists already.", "Choose another name or folder.")
    try:
        for source, target in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, part)
            os.replace(part, target)
    except OSError as error:
        raise PbrFitError(
            f"PBRfit cannot write to {path.parent}: {error.strerror}.", "Choose another folder, or make room."
        ) from error
    return sorted(files.values(), key=lambda item: (item != path, item))
