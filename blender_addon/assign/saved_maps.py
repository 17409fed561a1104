# SPDX-License-Identifier: GPL-3.0-or-later
"""Save maps as files in a folder of the artist's choice, and never overwrite a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import bpy

from ..common.errors import PbrFitError
from ..common.material_recipe import MAP_LABELS
from ..common.names import RECORD, file_stem
from ..common.node_trees import images_of
from ..export.plan import GroupPlan


class NewFiles:
    """Files that one click writes into a folder; use it with ``with``: an error removes those that were written before it."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when the first file is written."""
        self.folder = folder
        self.written: list[Path] = []
        self._made: list[Path] = []

    def __enter__(self) -> NewFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None:
            return
        for path in self.written:
            with contextlib.suppress(OSError):
                path.unlink()
        for place in reversed(self._made):
            with contextlib.suppress(OSError):
                place.rmdir()

    def write(self, named: Callable[[int], Mapping[str, bytes]]) -> None:
        """Write files that belong together, under names that no file has.

        named: gives their names and bytes, the names with a number; 0: without one. Raises PbrFitError.
        """
        try:
            self._make_folder()
            number = 0
            while any(os.path.lexists(self.folder / name) for name in named(number)):
                number += 1
            for name, data in named(number).items():
                with open(self.folder / name, "xb") as file:
                    self.written.append(self.folder / name)
                    file.write(data)
        except OSError as error:
            raise PbrFitError(
                f"PBRfit cannot write to {self.folder}: {error.strerror}.", "Choose another folder, or make room."
            ) from error

    def write_tiles(self, stem: str, suffix: str, tiles: Mapping[int, bytes]) -> None:
        """Write the files of a map by UDIM tile, {0: bytes} without tiles. Raises PbrFitError."""

        def named(number: int) -> dict[str, bytes]:
            name = f"{stem}_{number:03d}" if number else stem
            return {(f"{name}.{tile}" if tile else name) + suffix: data for tile, data in tiles.items()}

        self.write(named)

    def _make_folder(self) -> None:
        missing = [place for place in (self.folder, *self.folder.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            self._made.append(place)


def image_files(image: bpy.types.Image) -> dict[int, bytes]:
    """The bytes of an image's files by UDIM tile, {0: bytes} without tiles, including changes that are not saved yet.

    Raises PbrFitError if a file is missing, or if this Blender cannot save such changes without changing the image.
    """
    tiles = [tile.number for tile in image.tiles] if image.source == "TILED" else [0]
    unsaved = image.is_dirty or image.source == "GENERATED"
    if not unsaved and image.packed_file is not None:
        if tiles == [0]:
            return {0: image.packed_file.data}
        return {entry.tile_number: entry.packed_file.data for entry in image.packed_files}
    with tempfile.TemporaryDirectory(prefix="pbrfit_maps_", dir=bpy.app.tempdir or None) as folder:
        place = bpy.path.abspath(image.filepath, library=image.library)
        if unsaved:
            place = str(Path(folder, os.path.basename(place) or "map.png"))
            if "save_copy" not in image.bl_rna.functions["save"].parameters:  # not in Blender 4.2
                raise PbrFitError(f'The map "{image.name}" has changes that are not saved.', "Pack it (Image > Pack).")
            try:
                image.save(filepath=place, save_copy=True)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0].removeprefix("Error: ").rstrip(".")
                raise PbrFitError(
                    f'The map "{image.name}" cannot be saved: {reason}.',
                    "Save it in the Image Editor (Image > Save As).",
                ) from error
        try:
            return {tile: Path(place.replace("<UDIM>", str(tile))).read_bytes() for tile in tiles}
        except OSError as error:
            raise PbrFitError(
                f'The map "{image.name}" has no file: {place} does not exist.', "Find it with File > External Data."
            ) from error


def save_images(owners: Iterable[bpy.types.Material | bpy.types.World], folder: NewFiles) -> None:
    """Save the maps of fitted materials and worlds to a folder. Raises PbrFitError."""
    images = dict.fromkeys(image for owner in owners for image in images_of(owner.node_tree) if RECORD in image)
    for image in images:
        folder.write_tiles(file_stem(image.name), Path(image.filepath).suffix or ".png", image_files(image))


def save_results(plan: GroupPlan, files: dict[str, bytes], folder: NewFiles) -> None:
    """Save the files of a result that has not been assigned. Raises PbrFitError."""
    maps: dict[tuple[str, str], dict[int, bytes]] = {}
    for name, data in files.items():
        *number, file_name = name.split("/")
        stem, suffix = Path(file_name).stem, Path(file_name).suffix
        map_set = plan.sets[int(number[0]) if number else 0]
        is_map = stem in MAP_LABELS
        owner = map_set.name if is_map else plan.objects[0].name
        key = file_stem(f"{owner} {MAP_LABELS.get(stem, stem.capitalize())}"), suffix
        tile = map_set.tile if is_map else 0
        if tile in maps.get(key, {}):  # another set of that name
            folder.write_tiles(*key, maps.pop(key))
        maps.setdefault(key, {})[tile] = data
    for (stem, suffix), tiles in maps.items():
        folder.write_tiles(stem, suffix, tiles)
