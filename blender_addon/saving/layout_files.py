# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of fitted materials as files in a layout: first their names, then, one by one, their bytes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import bpy

from ..assign.saved_maps import NewFiles
from ..common.errors import PbrFitError
from ..common.records import record_of
from ..export.plan import GroupPlan
from ..protocol.map_layouts import SIGNALS, Layout, MapFile, OutputOptions
from ..protocol.map_names import NameParts, file_stem, same_names
from ..protocol.png import Run, png
from . import encoders
from .blender_encoders import KINDS, encoded_by_blender
from .material_signals import ImagePart, Said, neutral, scales_of, signals_of
from .pixels import Decoder, Part, has_alpha, parts_of, pixels_of
from .unchanged_files import unchanged_file

MOST_THREADS = 8
SAME = 1e-4
"""How far numbers of a node may be off: they are 32-bit floats."""


@dataclass(frozen=True)
class LayoutFile:
    """A file to write. item: of the layout; material: whose map it is; said: what the material says of each property;
    parts: of its name, by the layout's pattern; normal: the convention of normals; size: width and height, (0, 0): as the
    maps are."""

    item: MapFile
    material: str
    said: Mapping[str, Said]
    parts: NameParts
    pattern: str
    normal: str
    size: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """With its ending."""
        return self.numbered(0)

    @property
    def tile(self) -> int:
        """Of UDIM, 0 without tiles."""
        return self.parts.tile

    def numbered(self, number: int) -> str:
        """The name, with a number that tells it from another file's; 0: none."""
        return file_stem(self.pattern, self.parts, number) + self.item.suffix


def layout_files(materials: Iterable[bpy.types.Material], layout: Layout) -> list[LayoutFile]:
    """The files of materials in a layout: those that hold something which varies.

    Raises PbrFitError if two files would have one name, if a format cannot hold what is wanted, or if a material is no longer
    what PBRfit made.
    """
    found: list[LayoutFile] = []
    known: set[frozenset[tuple[str, object]]] = set()
    for material in materials:
        said = signals_of(material)
        record = record_of(material)
        # Materials that only differ in the UV map's name have the same images.
        key = frozenset(
            (name, (value.image.session_uid, value.part) if isinstance(value, ImagePart) else value)
            for name, value in said.items()
        )
        if key in known:
            continue
        known.add(key)
        objects = record.get("objects")
        owner = str(objects[0]) if isinstance(objects, list) and objects else material.name
        part = str(record.get("set", material.name))
        for item in layout.files:
            images = images_in(item, said)
            if not images:
                continue
            check_alpha(item, said, material.name)
            for tile, size in tiles_of(images[0], "{resolution}" in layout.pattern).items():
                parts = NameParts(owner, part, item.map, tile, layout.size if any(layout.size) else size)
                found.append(LayoutFile(item, material.name, said, parts, layout.pattern, layout.normal, layout.size))
    check_names([(item.material, item.name) for item in found], layout.pattern)
    return found


def possible_names(plan: GroupPlan, layout: Layout, size: tuple[int, int]) -> list[str]:
    """The names of all files that a fit or bake of a plan can have in a layout, before it starts. size: of its maps.

    Raises PbrFitError if two of them are the same.
    """
    owner = plan.objects[0].name
    size = layout.size if any(layout.size) else size
    names = [
        (map_set.name, file_stem(layout.pattern, NameParts(owner, map_set.name, item.map, map_set.tile, size)))
        for map_set in plan.sets
        for item in layout.files
    ]
    check_names(names, layout.pattern)
    suffixes = [item.suffix for item in layout.files] * len(plan.sets)
    return [stem + suffix for (_, stem), suffix in zip(names, suffixes, strict=True)]


def check_alpha(item: MapFile, said: Mapping[str, Said], material: str) -> None:
    """Raise PbrFitError if a file would need an alpha that its format has not."""
    if item.format == "jpeg" and has_alpha(item, said):
        raise PbrFitError(
            f'JPEG has no alpha, and the material "{material}" is not opaque everywhere.',
            "Choose PNG, WebP, TIFF or EXR, or a layout with a map of opacity.",
        )


def check_names(names: Sequence[tuple[str, str]], pattern: str) -> None:
    """Raise PbrFitError if two files would have one name. names: of the material and of the file."""
    same = same_names(name for _, name in names)
    if not same:
        return
    owners = list(dict.fromkeys(owner for owner, name in names if name.casefold() == same[0].casefold()))
    whose = " and ".join(f'"{name}"' for name in owners)
    fields = "_".join(field for field in ("{object}", "{material}") if field not in pattern)
    # Files are named after what the object and the material were called when the maps were made.
    cure = (
        f"Put {fields} into the pattern of the names, or save them one by one."
        if fields
        else "Save them one by one, or rename one of them and make its maps again."
    )
    raise PbrFitError(f"The maps of {whose} would have the same name, {same[0]}.", cure)


def tiles_of(image: bpy.types.Image, sized: bool) -> dict[int, tuple[int, int]]:
    """The UDIM tiles of an image, {0: ...} without tiles, with [width, height], 0 unless `sized`: Blender must read the
    file for that."""
    if image.source == "TILED":
        return {tile.number: (tile.size[0], tile.size[1]) if sized else (0, 0) for tile in image.tiles}
    return {0: (image.size[0], image.size[1]) if sized else (0, 0)}


def write_laid_out(files: Sequence[LayoutFile], data: Mapping[str, bytes], folder: NewFiles) -> None:
    """Write files, whose bytes `data` has by name, under names that are free; all tiles of a map get the same number.

    Raises PbrFitError.
    """
    maps: dict[tuple[str, str], list[LayoutFile]] = {}
    for file in files:
        maps.setdefault((file.material, file.item.map), []).append(file)
    for tiles in maps.values():
        folder.write(functools.partial(_numbered, tiles, data))


def _numbered(files: Sequence[LayoutFile], data: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    return {file.numbered(number): data[file.name] for file in files}


def encoding_steps(
    files: Sequence[LayoutFile], options: OutputOptions, wait: bool = True
) -> Iterator[tuple[str, bytes] | None]:
    """The bytes of each file by name, in their order. While threads encode one file, the next one is decoded; a file that is
    an image's own is copied.

    wait: whether a step waits for the threads; else it yields None while they work, so that Blender stays responsive. Raises
    PbrFitError as `parts_of` and `pixels_of`.
    """
    with ThreadPoolExecutor(1, "PBRfit file") as ahead, ThreadPoolExecutor(threads_to_use(), "PBRfit rows") as threads:

        def run(work: Callable[[int], bytes], numbers: Sequence[int]) -> list[bytes]:
            return list(threads.map(work, numbers))

        decode, material = Decoder(), ""
        waiting: list[tuple[str, Future[bytes]]] = []
        for item in files:
            if item.material != material:  # one material's pixels at a time
                decode, material = Decoder(item.size), item.material
            if (same := unchanged_file(item.item, item.said, item.normal, item.tile, item.size)) is not None:
                waiting.append((item.name, ready(same)))
                continue
            parts = parts_of(item.item, item.said, item.normal, item.tile, decode)
            if item.item.format in KINDS:  # Blender encodes in the main thread only
                pixels = pixels_of(item.item, parts, options.dither, run)
                waiting.append((item.name, ready(encoded_by_blender(pixels, item.item.format, options.quality))))
            else:
                waiting.append((item.name, ahead.submit(encoded, item.item, parts, options.dither, run)))
            while len(waiting) > 1:
                yield from _finished(waiting, wait)
        while waiting:
            yield from _finished(waiting, wait)


def ready(data: bytes) -> Future[bytes]:
    """What need not be waited for."""
    done: Future[bytes] = Future()
    done.set_result(data)
    return done


def _finished(waiting: list[tuple[str, Future[bytes]]], wait: bool) -> Iterator[tuple[str, bytes] | None]:
    """The first of the files that wait; None before, until it is encoded."""
    name, future = waiting[0]
    while not wait and not future.done():
        yield None
    waiting.pop(0)
    yield name, future.result()


def encoded_files(files: Sequence[LayoutFile], options: OutputOptions) -> dict[str, bytes]:
    """The bytes of all files by name. Raises PbrFitError as `encoding_steps`."""
    return dict(found for found in encoding_steps(files, options) if found is not None)


def threads_to_use() -> int:
    """How many threads encode."""
    return min(MOST_THREADS, os.cpu_count() or 1)


def encoded(item: MapFile, parts: Sequence[Part], dither: bool, run: Run) -> bytes:
    """The bytes of one file."""
    pixels = pixels_of(item, parts, dither, run)
    if item.format == "png":
        return png(pixels, item.is_color, run)
    if item.format == "tiff":
        return encoders.tiff(pixels, item.is_opacity, run)
    return encoders.exr(pixels, run)


def leftover_numbers(
    materials: Iterable[bpy.types.Material], layout: Layout
) -> dict[str, dict[str, tuple[float, ...]]]:
    """What the layout could hold and no file does, since a material has the same everywhere: by material and property.

    Raises PbrFitError as `signals_of`.
    """
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for material in materials:
        said = signals_of(material)
        held = {name for item in layout.files if images_in(item, said) for name in item.signals}
        wanted = {name for item in layout.files for name in item.signals} - held
        found[material.name] = {
            name: value for name, value in said.items() if name in wanted and not isinstance(value, ImagePart)
        } | {name: value for name, value in scales_of(material).items() if name.removesuffix("_scale") in held}
    return found


def is_neutral(name: str, value: tuple[float, ...]) -> bool:
    """Whether a property has the value of a material that says nothing of it."""
    return all(abs(part - other) < SAME for part, other in zip(value, neutral(SIGNALS[name]), strict=True))


def images_in(item: MapFile, said: Mapping[str, Said]) -> list[bpy.types.Image]:
    """The images that a file of a layout reads for a material."""
    return [source.image for name in item.signals if isinstance(source := said[name], ImagePart)]
