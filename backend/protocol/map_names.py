"""Names of files of maps by a pattern, which every system allows and no two of which are the same on any."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .errors import CauseAndCure

FIELDS = ("object", "material", "map", "tile", "resolution")
# Of a name in UTF-8, without its ending: file systems allow 255, and encrypted ones 143.
LONGEST_NAME = 120
# Windows gives these names to devices, whatever follows after a dot.
DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10))}


class PatternError(CauseAndCure):
    """A pattern that gives no good names."""


@dataclass(frozen=True)
class NameParts:
    """What the fields of a pattern stand for. tile: the number of a UDIM tile, 0 without tiles; resolution: [width, height]."""

    object: str
    material: str
    map: str
    tile: int
    resolution: tuple[int, int]


def check_pattern(pattern: str) -> None:
    """Raise PatternError if a pattern has unknown fields, or none for the map."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise PatternError(f'The pattern "{pattern}" cannot be read: {error}.', _fields_text()) from error
    fields = [field for _, field, _, _ in parts if field is not None]
    plain = all(not form and not conversion for _, _, form, conversion in parts)
    if not plain or not set(fields) <= set(FIELDS):
        raise PatternError(f'The pattern "{pattern}" has unknown fields.', _fields_text())
    if "map" not in fields:
        raise PatternError(f'By the pattern "{pattern}" all maps have the same name.', "Put {map} into it.")


def file_stem(pattern: str, parts: NameParts, number: int = 0) -> str:
    """The name, without its ending, that a pattern gives. A tile that the pattern does not name is added at the end, as UDIM
    textures are named. number: tells it from a file that has its name; before a tile, which must stay where it is."""
    if number and parts.tile:
        return file_stem(pattern, replace(parts, map=f"{parts.map}_{number:03d}"))
    end = f"_{number:03d}" if number else ""
    width, height = parts.resolution
    fields = {
        "object": parts.object,
        "material": parts.material,
        "map": parts.map,
        "tile": str(parts.tile) if parts.tile else "",
        "resolution": str(width) if width == height else f"{width}x{height}",
    }
    stem = safe_name(pattern.format(**fields))
    end += f".{parts.tile}" if parts.tile and "{tile}" not in pattern else ""
    return shortened(stem, LONGEST_NAME - len(end)) + end


def safe_name(name: str) -> str:
    """A name with nothing in it that a system does not allow in names of files."""
    name = unicodedata.normalize("NFC", name)
    name = re.sub(r"[^\w.-]+", "_", name)
    name = re.sub(r"([_.-])\1+", r"\1", name).strip("._-")  # also where a field is empty
    if name.partition(".")[0].casefold() in DEVICES:
        name = f"_{name}"
    return name or "map"


def shortened(name: str, most: int) -> str:
    """A name of at most `most` bytes of UTF-8: its end is kept, which tells maps apart."""
    data = name.encode()
    if len(data) <= most:
        return name
    half = most // 2
    return data[: most - half].decode(errors="ignore") + data[-half:].decode(errors="ignore")


def same_names(names: Iterable[str]) -> list[str]:
    """Names that come more than once, on a system that does not tell large letters from small ones."""
    seen: set[str] = set()
    found: dict[str, None] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            found[name] = None
        seen.add(folded)
    return list(found)


def _fields_text() -> str:
    return f"Use only {', '.join('{' + name + '}' for name in FIELDS)}."
