"""Maps of another origin that a fit begins with: what is taken as what.

Nothing is decoded here: names, heads of files and glTF's JSON decide, so that what is wrong is said before any work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import CauseAndCure
from .image_headers import HEAD_BYTES, ImageHeader, image_header
from .map_layouts import DIRECTX, NORMAL, SIGNALS, MapFile
from .map_names import safe_name

WHOLE = "color"
CHANNELS = ("red", "green", "blue", "alpha")
EXPECTED = ("base_color", "roughness", "metallic", "normal")
"""What the table names where no map says it."""


class StartMapsError(CauseAndCure):
    """Maps that cannot be the start of a fit."""


@dataclass(frozen=True)
class ImageBytes:
    """The file of an image, or a part of a file: length bytes from start on; 0: all. name: for the artist."""

    path: str
    name: str
    start: int = 0
    length: int = 0

    def read(self, most: int | None = None) -> bytes:
        """Its bytes, or the first of them. Raises OSError."""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            wanted = self.length or -1
            return file.read(wanted if most is None else most if wanted < 0 else min(most, wanted))

    def end(self) -> bytes:
        """Its last bytes. Raises OSError."""
        with open(self.path, "rb") as file:
            size = self.length or file.seek(0, 2)
            file.seek(self.start + max(0, size - 16))
            return file.read(min(16, size))


@dataclass(frozen=True)
class Taken:
    """Where the values of a property are. signal: of map_layouts.SIGNALS; part: WHOLE or one of CHANNELS; inverted: 1 minus
    them; directx: normals with -Y; linear: colors are; multiplied: colors are by the alpha of the same image; factor: of each
    channel, 1 for none."""

    signal: str
    image: ImageBytes
    part: str
    header: ImageHeader
    inverted: bool = False
    directx: bool = False
    multiplied: bool = False
    factor: tuple[float, ...] = (1.0,)
    packed: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the second Blender, as JSON values."""
        found = asdict(self)
        del found["header"], found["packed"]
        return found | {"linear": self.header.is_linear, "factor": list(self.factor)}

    @property
    def words(self) -> str:
        """Itself as a line of the table: "Roughness: 1 - gloss.png (2048 x 1024)"."""
        label = SIGNALS[self.signal].input
        where = "" if self.part == WHOLE else f", {self.part}"
        size = f" ({self.header.width} x {self.header.height})" if self.header.width else ""
        kind = ""
        if SIGNALS[self.signal].kind == NORMAL:
            kind = ", -Y (DirectX)" if self.directx else ", +Y (OpenGL)"
        factor = "" if all(value == 1.0 for value in self.factor) else f" times {_numbers(self.factor)}"
        return f"{label}: {'1 - ' if self.inverted else ''}{self.image.name}{where}{kind}{factor}{size}"


@dataclass(frozen=True)
class Family:
    """The maps of one material. name: what names have in common; tiles: what is taken, by UDIM tile (0: without); numbers: what
    is the same everywhere, by signal."""

    name: str
    tiles: dict[int, tuple[Taken, ...]]
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def signals(self) -> list[str]:
        """What maps say."""
        return list(dict.fromkeys(item.signal for taken in self.tiles.values() for item in taken))

    def words(self) -> list[str]:
        """The table: a line for each property and tile, and for each usual one that no map says."""
        lines = [
            f"{item.words}{f', tile {tile}' if tile else ''}" for tile, taken in self.tiles.items() for item in taken
        ]
        for name in dict.fromkeys((*EXPECTED, *self.numbers)):
            if name not in self.signals:
                said = self.numbers.get(name)
                known = f"no map, {_numbers(said)}" if said else "no map, begins as in a new material"
                lines.append(f"{SIGNALS[name].input}: {known}")
        return lines


@dataclass(frozen=True)
class FoundMaps:
    """What a folder or glTF has. source: its path; families: of maps; left: files that are not taken, with the reason."""

    source: str
    families: tuple[Family, ...]
    left: tuple[tuple[str, str], ...] = ()

    def words(self) -> list[str]:
        """The table of what is taken as what, and what is not."""
        lines = [line for family in self.families for line in self.words_of(family.name)]
        return [*lines, *(f"{name}: not taken, {why}" for name, why in self.left)]

    def words_of(self, name: str) -> list[str]:
        """The part of the table on one family."""
        found = next(family for family in self.families if family.name == name)
        return [f"{name}: {line}" if len(self.families) > 1 else line for line in found.words()]

    def family_for(self, names: Iterable[str]) -> Family:
        """The maps of a material with one of these names; if there is only one set of maps, that one.

        Raises StartMapsError where it cannot be told which they are.
        """
        if len(self.families) == 1:
            return self.families[0]
        wanted = {_folded(name) for name in names}
        found = [family for family in self.families if _folded(family.name) in wanted]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(f'"{family.name}"' for family in self.families)
        raise StartMapsError(
            f'{self.source} has maps of several materials ({listed}), and none is called "{next(iter(names), "")}".',
            "Name the material like its maps, or choose a folder with the maps of one material.",
        )


def taken_from(item: MapFile, image: ImageBytes, directx: bool) -> Iterator[Taken]:
    """What a file of a layout holds. Raises StartMapsError if it is no image."""
    header = header_of(image)
    packed = len(item.signals) > 1
    if item.whole:
        turned = directx and SIGNALS[item.whole].kind == NORMAL
        multiplied = item.is_opacity and header.kind == "OpenEXR"
        yield Taken(item.whole, image, WHOLE, header, directx=turned, multiplied=multiplied)
    for part, channel in zip(CHANNELS, item.channels, strict=False):
        if channel.signal:
            yield Taken(channel.signal, image, part, header, channel.inverted, packed=packed)
    if item.alpha is not None and item.alpha.signal and header.has_alpha is False and not item.is_opacity:
        raise StartMapsError(
            f"{image.name} has no alpha, where {SIGNALS[item.alpha.signal].input} is expected.",
            "Replace the file, or rename it to what it holds.",
        )
    if item.alpha is not None and item.alpha.signal and header.has_alpha is not False:
        yield Taken(item.alpha.signal, image, "alpha", header, item.alpha.inverted, packed=packed)


def header_of(image: ImageBytes) -> ImageHeader:
    """What an image says of itself. Raises StartMapsError if it is none, or cannot be read."""
    try:
        header = image_header(image.read(HEAD_BYTES), image.end(), Path(image.path).suffix)
    except OSError as error:
        raise StartMapsError(f"{image.name} cannot be read: {error.strerror}.", "Get the right to read it.") from error
    if header is None:
        raise StartMapsError(
            f"{image.name} is no image that can be read, or its end is missing.",
            "Replace it by a PNG, JPEG, WebP, TIFF, EXR, HDR, TGA or BMP, or take it out of the folder.",
        )
    return header


def start_entry(family: Family, tile: int) -> dict[str, Any]:
    """What the second Blender needs for one set of maps, as JSON values. tile: of UDIM, 0 without.

    Raises StartMapsError if maps have tiles, and not this one.
    """
    taken = family.tiles.get(tile, family.tiles.get(0))
    if taken is None and len(family.tiles) == 1 and not tile:
        taken = next(iter(family.tiles.values()))
    if taken is None:
        tiles = ", ".join(map(str, family.tiles))
        if tile:
            raise StartMapsError(f"There are no maps for the UDIM tile {tile}, only for {tiles}.", "Add them.")
        raise StartMapsError(f"There are no maps without UDIM tiles, only for {tiles}.", "Add them.")
    return {"maps": [item.to_json() for item in taken], "numbers": {k: list(v) for k, v in family.numbers.items()}}


def with_normals(found: FoundMaps, normals: str) -> FoundMaps:
    """The same with all normals taken as OPENGL or DIRECTX."""
    families = []
    for family in found.families:
        tiles = {
            tile: tuple(
                replace(item, directx=normals == DIRECTX) if SIGNALS[item.signal].kind == NORMAL else item
                for item in taken
            )
            for tile, taken in family.tiles.items()
        }
        families.append(replace(family, tiles=tiles))
    return replace(found, families=tuple(families))


def _folded(name: str) -> str:
    return safe_name(name).casefold()


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
