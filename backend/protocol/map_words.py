"""What names of image files say about what they hold: the usual words of texture sets, engines and scanners."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .map_layouts import MapFile, read_layout

LONGEST_RUN = 4  # words that name a map together
TILE = re.compile(r"[._](1[0-9]{3})$")
RESOLUTION = re.compile(r"[-_. ]+(?:\d+k|\d{3,5}(?:x\d{3,5})?(?:px)?)$", re.IGNORECASE)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_COLOR: dict[str, object] = {"color": "base_color", "alpha": "alpha"}
_HELD: dict[str, tuple[dict[str, object], str]] = {
    "base color": (
        _COLOR,
        "basecolor basecolour albedo diffuse diff diffusecolor basemap basetexture color colour col bc d kd",
    ),
    "roughness": ({"gray": "roughness"}, "roughness rough rgh specularroughness baseroughness r"),
    "smoothness": ({"gray": "1 - roughness"}, "gloss glossiness smoothness smooth glossy"),
    "metallic": ({"gray": "metallic"}, "metallic metalness metal mtl met basemetalness m"),
    "normal": (
        {"color": "normal"},
        "normal normals nrm nor norm nrml normalmap bumpmap normalgl normalogl normalopengl norgl nrmgl geometrynormal n",
    ),
    "occlusion": ({"gray": "occlusion"}, "ao occlusion ambientocclusion occ"),
    "opacity": ({"gray": "alpha"}, "opacity alpha geometryopacity cutout"),
    "emission": ({"color": "emission"}, "emissive emission emissivecolor emissioncolor emissivemap emissionmap emit e"),
    "packed ORM": (
        {"red": "occlusion", "green": "roughness", "blue": "metallic"},
        "orm arm occlusionroughnessmetallic aoroughnessmetallic ambientocclusionroughnessmetallic",
    ),
    "packed RMA": ({"red": "roughness", "green": "metallic", "blue": "occlusion"}, "rma roughnessmetallicao"),
    "packed MRA": ({"red": "metallic", "green": "roughness", "blue": "occlusion"}, "mra mrao metallicroughnessao"),
    "packed glTF": ({"green": "roughness", "blue": "metallic"}, "metallicroughness roughnessmetallic metalroughness"),
    "mask map": (
        {"red": "metallic", "green": "occlusion", "alpha": "1 - roughness"},
        "maskmap metallicocclusionsmoothness",
    ),
    "metallic smoothness": (
        {"red": "metallic", "alpha": "1 - roughness"},
        "metallicsmoothness metallicgloss metallicglossiness",
    ),
}
_DIRECTX = "normaldx normaldirectx nordx nrmdx"
_NOT_USED = (
    "height displacement disp bump specular spec specularlevel cavity curvature thickness position id translucency "
    "subsurface sss preview thumbnail thumb render"
)
NOT_USED = frozenset(_NOT_USED.split())
"""Words of maps that nothing begins with."""


@dataclass(frozen=True)
class NameSays:
    """What a name says. family: what comes before the words, so the material's name; tile: of UDIM, 0 without; item: what the
    file holds, None for what is not used; directx: whether the name says that normals have -Y; opengl: that they have +Y."""

    family: str
    tile: int
    item: MapFile | None
    directx: bool = False
    opengl: bool = False


def _known() -> dict[str, MapFile]:
    files = [{"map": name, **held} for name, (held, _) in _HELD.items()]
    layout = read_layout({"title": "Names", "normal": "opengl", "pattern": "{map}", "files": files}, "names")
    items = {item.map: item for item in layout.files}
    found = {word: items[name] for name, (_, words) in _HELD.items() for word in words.split()}
    return found | dict.fromkeys(_DIRECTX.split(), items["normal"])


WORDS = _known()
"""What a file holds, by the word, or the words without what is between them, that its name has."""


def name_says(stem: str) -> NameSays | None:
    """What the name of a file, without its ending, says; None where it says nothing.

    The words nearest to the end count, of these the longest: in `rusty_metal_02_diff_1k` it is `diff`.
    """
    stem, tile = _without_tile(stem)
    stem = RESOLUTION.sub("", stem)
    if not tile:
        stem, tile = _without_tile(stem)
    words = list(WORD.finditer(stem))
    for end in range(len(words), 0, -1):
        for start in range(max(0, end - LONGEST_RUN), end):
            run = "".join(word[0].lower() for word in words[start:end])
            # A single letter is a word only at the end of a name that has more, as in T_Chair_D.
            is_letter = len(run) == 1 and (start == 0 or end < len(words))
            if is_letter or run not in WORDS.keys() | NOT_USED:
                continue
            family = RESOLUTION.sub("", stem[: words[start].start()].rstrip("_-. "))
            return NameSays(family, tile, WORDS.get(run), run in _DIRECTX.split(), run.endswith(("gl", "ogl")))
    return None


def _without_tile(stem: str) -> tuple[str, int]:
    found = TILE.search(stem)
    return (stem[: found.start()], int(found[1])) if found else (stem, 0)
