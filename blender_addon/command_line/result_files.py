# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a result beside what its folder has already: nothing is overwritten, except what the request says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

if TYPE_CHECKING:
    from .artist_file import DriveError
else:  # this file is imported by a script, without its package
    from artist_file import DriveError

REPORT, PICTURE = "report.json", "report.png"
TEXTURES = "textures"
UDIM = "<UDIM>"
PART = ".pbrfit-part"
"""The end of a file's name until it is written."""
MAP_OR_PICTURE = re.compile(r"(\d+/)?[a-z_]+\.(png|exr)|maps/[^/\\]+|models/.+")
"""What a result has beside its .blend and report.json, and not in a folder whose names are chosen free."""


class ResultFolder:
    """The folder of a result, made by the command line, with the files that may be overwritten there."""

    def __init__(self, folder: Path, result: Path, replaceable: Collection[str]) -> None:
        """``result``: the .blend to save; ``replaceable``: names of an earlier result's files, relative to the folder."""
        self._folder = folder
        self._result = result
        self._replaceable = set(replaceable)

    def check_unused(self, blend: str) -> None:
        """Raise DriveError if the open file uses a file of the earlier result, which the new one would overwrite."""
        results = {os.path.realpath(self._folder / name) for name in self._replaceable}
        used = sorted(path for path in bpy.utils.blend_paths(absolute=True) if os.path.realpath(path) in results)
        if used:
            raise DriveError(
                f"{blend} uses {os.path.realpath(used[0])}, which the result would overwrite.",
                "Give --out another folder.",
            )

    def write(self, owner: dict[str, Any], files: dict[str, bytes], further: Iterable[str]) -> list[str]:
        """Write a result's files, and first report.json, which says whose they are. Returns all names of the result.

        Maps and a picture that only the earlier result had are removed.

        The command line completes report.json; until then it lets the same run start again. ``owner``: the first values
        in report.json; ``files``: by name, "0/kd.png" if there are several sets of maps; ``further``: names of files that
        the command line will write. Raises DriveError.
        """
        names = [self._result.name, *sorted(files), *further, REPORT]
        caches = caches_of(Path(bpy.data.filepath)) if bpy.data.filepath else None
        if caches is not None:
            names.append(f"blendcache_{self._result.stem}")
        if os.path.lexists(self._result) and self._result.name not in self._replaceable:
            raise self._taken(self._result.name)
        claim = json.dumps({**owner, "files": names}, indent=2) + "\n"
        written = {REPORT: claim.encode(), **files}
        for name in written:
            if name not in self._replaceable and os.path.lexists(self._folder / name):
                raise self._taken(name)
        self._write_all(written)
        for name in self._replaceable.difference(names):
            if MAP_OR_PICTURE.fullmatch(name):
                (self._folder / name).unlink(missing_ok=True)
        return names

    def _write_all(self, files: Mapping[str, bytes]) -> None:
        """Write files, all of them before the first takes the place of an earlier one: a full disk leaves those as they are."""
        parts = {name: self._folder / f"{name}{PART}" for name in files}
        name = next(iter(files))
        try:
            for name, data in files.items():
                parts[name].parent.mkdir(exist_ok=True)
                parts[name].write_bytes(data)
            for name, part in parts.items():
                os.replace(part, self._folder / name)
        except OSError as error:
            raise DriveError(
                f"{self._folder / name} cannot be written: {error.strerror}.",
                "Make room, or give --out another folder.",
            ) from error
        finally:
            for part in parts.values():
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)

    def _save_blend(self) -> None:
        """Save the open file as the result. Raises DriveError."""
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(self._result), check_existing=False)
        except RuntimeError as error:
            Path(f"{self._result}@").unlink(missing_ok=True)  # Blender's own half of it
            reason = " ".join(str(error).removeprefix("Error: ").split()).rstrip(".")
            free = shutil.disk_usage(self._folder).free / 2**20  # Blender's reason may be any, on a full disk
            raise DriveError(
                f"Blender cannot save {self._result}: {reason}. There are {free:.1f} MiB free.",
                "Make room, or give --out another folder.",
            ) from error

    def save(self, maps: Iterable[bpy.types.Image] | None) -> list[str]:
        """Save the open file as the result; what Blender finds beside a file by its name, disk caches, is copied along.

        ``maps``: packed images to keep as files in the folder textures instead; None: they stay packed. Returns the names
        of these files. Raises DriveError.
        """
        original = Path(bpy.data.filepath) if bpy.data.filepath else None
        named = [(part, name, bpy.path.abspath(getattr(part, name))) for part, name in named_caches()]
        bpy.context.preferences.filepaths.save_version = 0  # no NAME.blend1 beside the result
        self._save_blend()
        written: list[str] = []
        for image in maps or ():
            written += self._unpack(image)
        caches = None if original is None else caches_of(original)
        # Blender does not adapt these paths when it saves a file in another folder.
        for part, name, path in named:
            setattr(part, name, self._from_result(Path(path), caches))
        if maps is not None or named:
            self._save_blend()
        if caches is not None:
            try:
                shutil.copytree(caches, self._folder / f"blendcache_{self._result.stem}", dirs_exist_ok=True)
            except (OSError, shutil.Error) as error:
                raise DriveError(
                    f"The caches {caches} cannot be copied to {self._folder}: {error}", "Make room."
                ) from error
        return written

    def _from_result(self, path: Path, caches: Path | None) -> str:
        """A path of the original's caches as the result names it: in the copy of ``caches``, or where it was."""
        if caches is not None and path.is_relative_to(caches):
            return f"//blendcache_{self._result.stem}/{path.relative_to(caches).as_posix()}"
        relative: str = bpy.path.relpath(str(path), start=str(self._folder))
        return relative

    def _unpack(self, image: bpy.types.Image) -> list[str]:
        """Make a packed image one of files with free names, which are returned. Raises DriveError.

        Blender's own operator would overwrite files of these names.
        """
        folder = self._folder / TEXTURES
        tiled = image.source == "TILED"
        data = {entry.tile_number if tiled else 0: entry.packed_file.data for entry in image.packed_files}
        stem, suffix = os.path.splitext(bpy.path.basename(image.filepath))
        stem, number = stem.removesuffix(f".{UDIM}"), 0
        while True:
            name = (f"{stem}_{number:03d}" if number else stem) + (f".{UDIM}" if tiled else "") + suffix
            files = {name.replace(UDIM, str(tile)): content for tile, content in data.items()}
            if not any(os.path.lexists(folder / one) for one in files):
                break
            number += 1
        try:
            folder.mkdir(exist_ok=True)
            for one, content in files.items():
                with open(folder / one, "xb") as file:
                    file.write(content)
        except OSError as error:
            raise DriveError(
                f'The map "{image.name}" cannot be written to {folder}: {error.strerror}.',
                "Make room, or give --out another folder.",
            ) from error
        image.unpack(method="REMOVE")
        image.filepath_raw = f"//{TEXTURES}/{name}"
        return [f"{TEXTURES}/{one}" for one in files]

    def _taken(self, name: str) -> DriveError:
        """The error for what was not there when the run began."""
        return DriveError(
            f"{self._folder / name} was written by something else while this run worked, and is left as it is.",
            "Run the command again, with another folder for --out.",
        )


def caches_of(blend: Path) -> Path | None:
    """The folder of a file's disk caches; None where it has none."""
    caches = blend.parent / f"blendcache_{blend.stem}"
    return caches if caches.is_dir() else None


def named_caches() -> Iterator[tuple[Any, str]]:
    """What names a cache on disk relative to the file, in its own objects, and by which property."""
    for thing in (thing for thing in bpy.data.objects if thing.library is None):
        parts: list[tuple[Any, str]] = []
        for modifier in thing.modifiers:
            if modifier.type == "NODES":
                parts.append((modifier, "bake_directory"))
                parts += [(bake, "directory") for bake in modifier.bakes if bake.use_custom_path]
            if getattr(modifier, "point_cache", None) is not None and modifier.point_cache.use_external:
                parts.append((modifier.point_cache, "filepath"))
        parts += [(item.point_cache, "filepath") for item in thing.particle_systems if item.point_cache.use_external]
        yield from ((part, name) for part, name in parts if getattr(part, name).startswith("//"))
