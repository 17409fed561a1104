# SPDX-License-Identifier: GPL-3.0-or-later
"""Save maps as files in a folder of the artist's choice, and never overwrite a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import bpy

from ..common.errors import PbrFitError
from ..common.material_recipe import MAP_LABELS
from ..common.names import RECORD, file_stem, free_path
from ..common.node_trees import images_of
from ..export.plan import GroupPlan


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write a file, with a number in its name if that file exists. Raises PbrFitError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = free_path(folder, stem, suffix)
        with open(path, "xb") as file:
            file.write(data)
    except OSError as error:
        raise PbrFitError(
            f"PBRfit cannot write to {folder}: {error.strerror}.", "Choose another folder, or make room."
        ) from error
    return path


def image_files(image: bpy.types.Image) -> dict[int, bytes]:
    """The bytes of an image's files by UDIM tile, {0: bytes} without tiles, including changes that are not saved yet.

    Raises PbrFitError if a file is missing, or if this Blender cannot save such changes without changing the image.
    """
    tiles = [tile.number for tile in image.tiles] if image.source == "TILED" else [0]
    if not image.is_dirty and image.packed_file is not None:
        if tiles == [0]:
            return {0: image.packed_file.data}
        return {entry.tile_number: entry.packed_file.data for entry in image.packed_files}
    with tempfile.TemporaryDirectory(prefix="pbrfit_maps_", dir=bpy.app.tempdir or None) as folder:
        place = bpy.path.abspath(image.filepath)
        if image.is_dirty:
            place = str(Path(folder, Path(place).name))
            if "save_copy" not in image.bl_rna.functions["save"].parameters:  # not in Blender 4.2
                raise PbrFitError(f'The map "{image.name}" has changes that are not saved.', "Pack it (Image > Pack).")
            image.save(filepath=place, save_copy=True)
        try:
            return {tile: Path(place.replace("<UDIM>", str(tile))).read_bytes() for tile in tiles}
        except OSError as error:
            raise PbrFitError(
                f'The map "{image.name}" has no file: {place} does not exist.', "Find it with File > External Data."
            ) from error


def save_images(owners: Iterable[bpy.types.Material | bpy.types.World], folder: Path) -> list[Path]:
    """Save the maps of fitted materials and worlds to a folder; returns the paths."""
    images = dict.fromkeys(image for owner in owners for image in images_of(owner.node_tree) if RECORD in image)
    written: list[Path] = []
    for image in images:
        suffix = Path(image.filepath).suffix or ".png"
        for tile, data in image_files(image).items():
            written.append(write_new(folder, file_stem(f"{image.name}.{tile}" if tile else image.name), suffix, data))
    return written


def save_results(plan: GroupPlan, files: dict[str, bytes], folder: Path) -> list[Path]:
    """Save the files of a result that has not been assigned; returns the paths."""
    written: list[Path] = []
    for name, data in files.items():
        *number, file_name = name.split("/")
        stem, suffix = Path(file_name).stem, Path(file_name).suffix
        map_set = plan.sets[int(number[0]) if number else 0]
        owner = map_set.name if stem in MAP_LABELS else plan.objects[0].name
        tile = f".{map_set.tile}" if map_set.tile and stem in MAP_LABELS else ""
        name = file_stem(f"{owner} {MAP_LABELS.get(stem, stem.capitalize())}{tile}")
        written.append(write_new(folder, name, suffix, data))
    return written
