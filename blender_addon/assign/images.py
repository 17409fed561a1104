# SPDX-License-Identifier: GPL-3.0-or-later
"""Make maps into images of the .blend, packed or as files beside it, slice by slice, so that Blender stays responsive."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..common.errors import PbrFitError
from ..common.names import RECORD, file_stem, free_path

PACKED, FILES = "PACKED", "FILES"
FOLDER = "textures"
SLICE_BYTES = 16 * 2**20
UDIM = "<UDIM>"

Key = tuple[int, str]
"""The number of a material and the name of its map."""


@dataclass(frozen=True)
class WantedImage:
    """An image to make. tiles: the bytes of its file by UDIM tile, {0: bytes} without tiles."""

    name: str
    suffix: str
    color_space: str
    tiles: dict[int, bytes]

    @property
    def tiled(self) -> bool:
        """Whether it has UDIM tiles."""
        return 0 not in self.tiles


def file_folder(storage: str) -> Path | None:
    """The folder for maps as files; None if they are packed, by choice or because the .blend is not saved yet."""
    return Path(bpy.data.filepath).parent / FOLDER if storage == FILES and bpy.data.filepath else None


class ImageMaker:
    """Makes images without users; `discard` removes them all. Images that undo or loading a file removed are made again."""

    def __init__(self, wanted: Mapping[Key, WantedImage], folder: Path | None, fit: str) -> None:
        """wanted: the images to make; folder: for files, or None to pack; fit: the mark that the images get."""
        self._wanted = wanted
        self._folder = folder
        self._fit = fit
        self._made: dict[Key, int] = {}
        self._written: dict[Key, str] = {}
        self._files: list[Path] = []
        self._new_folder: Path | None = None

    def image(self, key: Key) -> bpy.types.Image | None:
        """The image made for a key, or None if it was not made or no longer exists."""
        uid = self._made.get(key)
        return next((image for image in bpy.data.images if image.session_uid == uid), None)

    def steps(self) -> Iterator[None]:
        """Make every image that is missing; one `next` takes much less than 100 ms for a map of 4096 pixels.

        An image of many UDIM tiles is packed in one slice. Raises PbrFitError if files cannot be written.
        """
        for key, wanted in self._wanted.items():
            if self.image(key) is not None:
                continue
            try:
                if self._folder is not None:
                    if key not in self._written:
                        self._written[key] = yield from self._write_beside(self._folder, wanted)
                    image = loaded(self._written[key], wanted)
                elif wanted.tiled:
                    image = yield from packed_tiles(wanted)
                else:
                    image = packed(wanted)
            except OSError as error:
                raise PbrFitError(
                    f'PBRfit cannot write the map "{wanted.name}": {error.strerror}.',
                    "Make room, choose packed images in the settings, or save the .blend in a folder that you can write to.",
                ) from error
            image[RECORD] = self._fit
            self._made[key] = image.session_uid
            yield

    def discard(self) -> None:
        """Remove every image and file made, as far as they still exist."""
        images = [self.image(key) for key in self._made]
        bpy.data.batch_remove([image for image in images if image is not None])
        for path in self._files:
            path.unlink(missing_ok=True)
        if self._new_folder is not None:
            with contextlib.suppress(OSError):
                self._new_folder.rmdir()
        self._made.clear()
        self._written.clear()
        self._files.clear()

    def _write_beside(self, folder: Path, wanted: WantedImage) -> Generator[None, None, str]:
        """Write an image's files slice by slice; returns its path for Blender, relative to the .blend."""
        if not folder.exists():
            folder.mkdir()
            self._new_folder = folder
        stem = file_stem(wanted.name)
        if wanted.tiled:
            number = 0
            while any(folder.glob(f"{stem}.*{wanted.suffix}")):
                number += 1
                stem = f"{file_stem(wanted.name)}_{number:03d}"
        name = f"{stem}.{UDIM}{wanted.suffix}"
        for tile, data in wanted.tiles.items():
            path = free_path(folder, f"{stem}.{tile}" if tile else stem, wanted.suffix)
            yield from self._write(path, data)
            if not tile:
                name = path.name
        return f"//{FOLDER}/{name}"

    def _write(self, path: Path, data: bytes) -> Iterator[None]:
        with open(path, "xb") as file:
            self._files.append(path)
            for start in range(0, len(data), SLICE_BYTES):
                file.write(data[start : start + SLICE_BYTES])
                yield


def packed(wanted: WantedImage) -> bpy.types.Image:
    """A new packed image of one file."""
    image = bpy.data.images.new(wanted.name, 1, 1)
    image.pack(data=wanted.tiles[0], data_len=len(wanted.tiles[0]))
    image.source = "FILE"
    image.filepath_raw = f"//{FOLDER}/{file_stem(wanted.name)}{wanted.suffix}"
    # After the data: when Blender finds the file's type, it resets the color space.
    set_meaning(image, wanted)
    return image


def set_meaning(image: bpy.types.Image, wanted: WantedImage) -> None:
    """Say what the values of an image's file mean."""
    image.colorspace_settings.name = wanted.color_space
    if wanted.suffix == ".exr":
        image.alpha_mode = "PREMUL"  # a new image's mode is another one, with which Blender multiplies by alpha again
    else:
        # Else Cycles multiplies the bytes by alpha and divides them again: at alpha 0.1 only 25 levels would be left.
        image.alpha_mode = "CHANNEL_PACKED"


def packed_tiles(wanted: WantedImage) -> Generator[None, None, bpy.types.Image]:
    """Make and return a new packed image of UDIM tiles, slice by slice, by way of files: Blender packs tiles only so."""
    stem = file_stem(wanted.name)
    with tempfile.TemporaryDirectory(prefix="pbrfit_tiles_", dir=bpy.app.tempdir or None) as folder:
        for tile, data in wanted.tiles.items():
            Path(folder, f"{stem}.{tile}{wanted.suffix}").write_bytes(data)
            yield
        image = loaded(str(Path(folder, f"{stem}.{UDIM}{wanted.suffix}")), wanted)
        image.pack()
    place = f"//{FOLDER}/{stem}.{UDIM}{wanted.suffix}"
    image.filepath_raw = place
    for entry in image.packed_files:
        entry.filepath = place.replace(UDIM, str(entry.tile_number))
    return image


def loaded(path: str, wanted: WantedImage) -> bpy.types.Image:
    """A new image that shows a file, or the files of tiles if its path has <UDIM>."""
    tiles = list(wanted.tiles)
    image = bpy.data.images.load(bpy.path.abspath(path.replace(UDIM, str(tiles[0]))), check_existing=False)
    image.name = wanted.name
    if wanted.tiled:
        image.source = "TILED"
        image.tiles[0].number = tiles[0]
        for tile in tiles[1:]:
            image.tiles.new(tile_number=tile)
    image.filepath_raw = path
    set_meaning(image, wanted)
    return image
