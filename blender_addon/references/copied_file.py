# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the open file for the second Blender, in which caches on disk are found where the file has them.

Blender finds some caches by the file's name and folder, and does not adapt the paths of others when it saves a copy.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..common.errors import PbrFitError

CACHES = "blendcache_"  # and the name of the file, as Blender names the folder


@dataclass(frozen=True)
class CopiedFile:
    """Where the copy is. folders: the paths of caches that the file names relative to itself, as JSON values: [name of the
    object, RNA path of the property, absolute path]."""

    path: Path
    folders: list[list[str]]


def save_copy(folder: Path) -> CopiedFile:
    """Save the file as it is now into a new folder; the open file keeps its path, and its unsaved changes if it has any.

    The copy has the file's own name, and beside it, as a link, the folder of caches that Blender finds by that name.
    Raises PbrFitError if Blender cannot write it.
    """
    folder.mkdir(parents=True)
    original = Path(bpy.data.filepath or "untitled.blend")
    path = folder / original.name
    link_caches(original, folder)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False, compress=False)
    except RuntimeError as error:
        raise PbrFitError(
            f"PBRfit could not save a copy of the file for rendering: {error}.",
            "Make room in the temporary directory, or choose another one in the preferences.",
        ) from error
    return CopiedFile(path, [list(found) for found in relative_folders()])


def link_caches(original: Path, folder: Path) -> None:
    """Make the caches that Blender finds by a file's name appear in another folder too."""
    caches = original.with_name(CACHES + original.stem)
    try:
        if not caches.is_dir():
            return
        (folder / caches.name).symlink_to(caches.absolute(), target_is_directory=True)
    except OSError:  # Windows allows links only to some users
        with contextlib.suppress(OSError):  # a cache that cannot be read is lost to the artist too
            shutil.copytree(caches, folder / caches.name)


def relative_folders() -> Iterator[tuple[str, str, str]]:
    """The caches of the file's own objects whose paths begin with //: see `CopiedFile`."""
    for owner in bpy.data.objects:
        if owner.library is None:
            for part, name in cache_paths(owner):
                value = getattr(part, name)
                if value.startswith("//"):
                    yield owner.name, part.path_from_id(name), bpy.path.abspath(value)


def cache_paths(owner: bpy.types.Object) -> Iterator[tuple[Any, str]]:
    """The parts of an object that name a cache on disk, and the property that does."""
    for modifier in owner.modifiers:
        if modifier.type == "NODES":
            yield modifier, "bake_directory"
            yield from ((bake, "directory") for bake in modifier.bakes if bake.use_custom_path)
        cache = getattr(modifier, "point_cache", None)
        if cache is not None and cache.use_external:
            yield cache, "filepath"
    for system in owner.particle_systems:
        if system.point_cache.use_external:
            yield system.point_cache, "filepath"


def name_folders(folders: list[list[str]]) -> None:
    """In the open copy: name the caches by the absolute paths that `CopiedFile` has."""
    for name, path, folder in folders:
        owner = bpy.data.objects.get((name, None))
        if owner is not None:
            part, _, last = path.rpartition(".")
            setattr(owner.path_resolve(part), last, folder)
