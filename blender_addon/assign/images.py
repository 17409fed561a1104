# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps as images of the file, packed or as files beside it, made slice by slice so that Blender stays responsive."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..common.errors import PbrFitError
from ..common.names import RECORD, file_stem, free_path

PACKED, FILES = "PACKED", "FILES"
FOLDER = "textures"
SLICE_BYTES = 16 * 2**20
UDIM = "<UDIM>"


@dataclass(frozen=True)
class WantedImage:
    """An image to make. tiles: the bytes of its file by UDIM tile, {0: bytes} where it has no tiles."""

    name: str
    suffix: str
    colour_space: str
    tiles: dict[int, bytes]

    @property
    def tiled(self) -> bool:
        """Whether it has UDIM tiles."""
        return 0 not in self.tiles


def file_folder(storage: str) -> Path | None:
    """Where maps go as files; None: they are packed, by choice or since the .blend has no place yet."""
    return Path(bpy.data.filepath).parent / FOLDER if storage == FILES and bpy.data.filepath else None


class ImageMaker:
    """Makes images without users; `discard` takes back all of it. Images that undo or loading took are made again."""

    def __init__(self, wanted: dict, folder: Path | None, fit: str) -> None:
        """wanted: WantedImage by any key; folder: for files, None: pack; fit: the mark that the images bear."""
        self._wanted = wanted
        self._folder = folder
        self._fit = fit
        self._made: dict[object, int] = {}
        self._written: dict[object, str] = {}
        self._files: list[Path] = []
        self._new_folder: Path | None = None

    def image(self, key: object) -> bpy.types.Image | None:
        """The image made for a key, or None where there is none (any more)."""
        uid = self._made.get(key)
        return next((image for image in bpy.data.images if image.session_uid == uid), None)

    def steps(self) -> Iterator[None]:
        """Make every image that is missing; what one `next` does takes well below 100 ms for a map of 4096 pixels.

        Packing an image of many UDIM tiles is one slice. Raises PbrFitError where files cannot be written.
        """
        for key, wanted in self._wanted.items():
            if self.image(key) is not None:
                continue
            try:
                if self._folder is not None:
                    yield from self._write_beside(key, wanted)
                    image = loaded(self._written[key], wanted)
                elif wanted.tiled:
                    image = yield from packed_tiles(wanted)
                else:
                    image = packed(wanted)
            except OSError as error:
                raise PbrFitError(
                    f'The map "{wanted.name}" cannot be written: {error.strerror}.',
                    "Make room, choose packed images in the settings, or save the .blend where you may write.",
                ) from error
            image[RECORD] = self._fit
            self._made[key] = image.session_uid
            yield

    def discard(self) -> None:
        """Remove every image and file made; those that are gone already are fine."""
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

    def _write_beside(self, key: object, wanted: WantedImage) -> Iterator[None]:
        if key in self._written:
            return
        if not self._folder.exists():
            self._folder.mkdir()
            self._new_folder = self._folder
        stem = file_stem(wanted.name)
        if wanted.tiled:
            number = 0
            while any(self._folder.glob(f"{stem}.*{wanted.suffix}")):
                number += 1
                stem = f"{file_stem(wanted.name)}_{number:03d}"
        for tile, data in wanted.tiles.items():
            path = free_path(self._folder, f"{stem}.{tile}" if tile else stem, wanted.suffix)
            yield from self._write(path, data)
            name = f"{stem}.{UDIM}{wanted.suffix}" if tile else path.name
        self._written[key] = f"//{FOLDER}/{name}"

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
    # After the data: a colour space set before would be forgotten when the file's type is found.
    image.colorspace_settings.name = wanted.colour_space
    return image


def packed_tiles(wanted: WantedImage) -> Iterator[None]:
    """Make (and return, as a generator does) a new packed image of UDIM tiles: Blender packs such only from files."""
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
    """A new image that shows a file, or with <UDIM> in its path the files of tiles."""
    tiles = list(wanted.tiles)
    image = bpy.data.images.load(bpy.path.abspath(path.replace(UDIM, str(tiles[0]))), check_existing=False)
    image.name = wanted.name
    if wanted.tiled:
        image.source = "TILED"
        image.tiles[0].number = tiles[0]
        for tile in tiles[1:]:
            image.tiles.new(tile_number=tile)
    image.filepath_raw = path
    image.colorspace_settings.name = wanted.colour_space
    return image
