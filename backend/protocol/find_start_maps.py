"""Find the maps that a fit begins with: in a folder, by their names or by the layout that wrote them, or in a glTF."""

from __future__ import annotations

import re
from pathlib import Path

from .gltf_maps import gltf_maps
from .map_layouts import DIRECTX, SIGNALS, Layout, LayoutError, MapFile, find_layout
from .map_names import safe_name
from .map_words import name_says
from .start_maps import Family, FoundMaps, ImageBytes, StartMapsError, Taken, taken_from, with_normals

BY_NAME = ""
"""In place of a layout: names tell what files hold."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr", ".hdr", ".tga", ".bmp"}
GLTF = {".glb", ".gltf"}
SAME_SHAPE = 0.01


def find_maps(source: str, layout: str = BY_NAME, normals: str = "") -> FoundMaps:
    """What is taken as what in a folder of maps, or in a .glb or .gltf.

    layout: BY_NAME, or that which wrote the files, by name or path; normals: OPENGL or DIRECTX for all, "": as names or the
    layout say, else OpenGL. Raises StartMapsError if nothing can be taken, if two files are the same property, or if one
    cannot be read.
    """
    path = Path(source)
    if path.suffix.lower() in GLTF:
        found = gltf_maps(path)
        return _checked(with_normals(found, normals) if normals else found)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise StartMapsError(
            f"The maps to begin with, {source}: that {what}.", "Choose a folder of maps, a .glb or a .gltf."
        )
    try:
        files = sorted(item for item in path.iterdir() if item.suffix.lower() in SUFFIXES and item.is_file())
    except OSError as error:
        raise StartMapsError(f"{source} cannot be read: {error.strerror}.", "Get the right to read it.") from error
    named = _by_layout(files, _layout(layout), normals) if layout else _by_name(files, normals)
    families, left = named
    if not families:
        looked = (
            f'that the layout "{layout}" names'
            if layout
            else "whose names say what they hold, such as wood_roughness.png"
        )
        raise StartMapsError(f"{source} has no images {looked}.", "Choose another folder, or the layout that wrote it.")
    return _checked(FoundMaps(source, tuple(families), tuple(left)))


def _layout(name: str) -> Layout:
    try:
        return find_layout(name)
    except LayoutError as error:
        raise StartMapsError(error.cause, error.cure) from error


Found = tuple[list[Family], list[tuple[str, str]]]
_Named = tuple[str, int, Path, MapFile, bool]
"""The family, tile and path of a file, what it holds, and whether normals have -Y."""


def _by_name(files: list[Path], normals: str) -> Found:
    named: list[_Named] = []
    left: list[tuple[str, str]] = []
    opengl: set[tuple[str, int]] = set()
    for path in files:
        said = name_says(path.stem)
        if said is None:
            left.append((path.name, "its name does not say what it holds"))
        elif said.item is None:
            left.append((path.name, "no map that a fit begins with"))
        else:
            directx = normals == DIRECTX if normals else said.directx
            named.append((said.family, said.tile, path, said.item, directx))
            if said.opengl:
                opengl.add((said.family, said.tile))
    # Who ships both wants one to be taken.
    both = [item for item in named if (item[0], item[1]) in opengl and _says_directx(item)]
    left += [(item[2].name, "the same normals with +Y are there too") for item in both]
    named = [item for item in named if item not in both]
    if normals and both:
        named = [(*item[:4], False) if item[3].whole == "normal" else item for item in named]
    return _families(named, own_first=True), left


def _says_directx(item: _Named) -> bool:
    said = name_says(item[2].stem)
    return said is not None and said.directx


def _by_layout(files: list[Path], layout: Layout, normals: str) -> Found:
    forms = [(item, _form(layout.pattern, item.map)) for item in layout.files]
    directx = (normals or layout.normal) == DIRECTX
    named: list[_Named] = []
    left: list[tuple[str, str]] = []
    for path in files:
        # The longest name of a map: "normal" also ends "clearcoat_normal".
        fits = [(item, match) for item, form in forms if (match := form.fullmatch(path.stem)) is not None]
        if not fits:
            left.append((path.name, "the layout has no such name"))
            continue
        item, match = max(fits, key=lambda pair: len(pair[0].map))
        groups = match.groupdict()
        tile = int(groups.get("tile") or 0)
        named.append((groups.get("material") or groups.get("object") or "", tile, path, item, directx))
    return _families(named, own_first=False), left


def _form(pattern: str, name: str) -> re.Pattern[str]:
    """What a name by a pattern looks like; the name of the map is safe in it, as in the files."""
    fields = {"map": re.escape(safe_name(name)), "tile": r"(?P<tile>\d{4})?", "resolution": r"\d+(?:x\d+)?"}
    parts = re.split(r"\{(\w+)\}", pattern)
    text, seen = "", set[str]()
    for place, part in enumerate(parts):
        if place % 2 == 0:
            text += re.sub(r"[^\w.\-]+", "_", part).replace(".", r"\.")
        elif part in fields:
            text += fields[part]
        else:
            text += f"(?P={part})" if part in seen else f"(?P<{part}>.+)"
            seen.add(part)
    return re.compile(text if "{tile}" in pattern else text + r"(?:\.(?P<tile>\d{4}))?")


def _families(named: list[_Named], own_first: bool) -> list[Family]:
    """The maps by family and tile. own_first: a file for one property alone comes before a packed one."""
    found: dict[str, dict[int, list[Taken]]] = {}
    for family, tile, path, item, directx in named:
        image = ImageBytes(str(path), path.name)
        found.setdefault(family, {}).setdefault(tile, []).extend(taken_from(item, image, directx))
    families = [
        Family(name, {tile: _each_once(taken, own_first) for tile, taken in sorted(tiles.items())})
        for name, tiles in found.items()
    ]
    return _merged(families)


def _each_once(taken: list[Taken], own_first: bool) -> tuple[Taken, ...]:
    found: dict[str, Taken] = {}
    for item in taken:
        other = found.get(item.signal)
        if other is None or (own_first and other.packed and not item.packed):
            found[item.signal] = item
        elif not (own_first and item.packed and not other.packed):
            raise StartMapsError(
                f"{other.image.name} and {item.image.name} are both taken as {SIGNALS[item.signal].input}.",
                "Take one of them out of the folder, or name the layout that wrote them.",
            )
    return tuple(found.values())


def _merged(families: list[Family]) -> list[Family]:
    """One family in place of several that complete each other, such as T_Chair and Chair: names alone do not divide them."""
    signals = [name for family in families for name in family.signals]
    tiles = {tuple(family.tiles) for family in families}
    if len(families) < 2 or len(set(signals)) < len(signals) or len(tiles) > 1:
        return families
    whole = {tile: tuple(item for family in families for item in family.tiles[tile]) for tile in next(iter(tiles))}
    return [Family(families[0].name, whole)]


def _checked(found: FoundMaps) -> FoundMaps:
    """The same. Raises StartMapsError for maps of one material and tile that differ in shape: they cannot be one set."""
    for family in found.families:
        for taken in family.tiles.values():
            sized = [item for item in taken if item.header.width and item.header.height]
            for item in sized:
                first = sized[0].header
                here, there = item.header.width / item.header.height, first.width / first.height
                if abs(here - there) > SAME_SHAPE * there:
                    raise StartMapsError(
                        f"{sized[0].image.name} is {first.width} x {first.height}, and {item.image.name} "
                        f"{item.header.width} x {item.header.height}: they have different shapes.",
                        "Scale one of them to the shape of the other.",
                    )
    return found
