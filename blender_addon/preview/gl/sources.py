# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview's shaders as data: their interfaces, and GLSL that any OpenGL 3.3 compiles once the interface is declared.

All values except textures come in two uniform blocks, `frame` and `part` (push constants are limited to 128 bytes). Each
look gets its own lines that sample its textures (`LookPlan`), so that a shader has only the samplers that it needs. There
are few plans in practice, and each is compiled once. Nothing here needs Blender.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CHANNELS = ("shaded", "kd", "occlusion", "roughness", "metallic", "normal", "light", "depth")
MOST_LEVELS = 16
MOST_MAPS = 13
COLORS = ("kd", "sheen_tint", "emission")
"""Properties of a look that are colors; the others, except the normal, are numbers."""
UNBOUNDED = "emission_strength"
"""The number that is not clamped to 0..1."""

FRAME_BLOCK = f"""struct PbrfitFrame {{
  vec4 settings;
  vec4 eye;
  vec4 axis;
  vec4 ray_middle;
  vec4 ray_right;
  vec4 ray_up;
  vec4 tile;
  vec4 bounds;
  vec4 irradiance[9];
  vec4 places[{MOST_LEVELS}];
}};
"""
"""settings: number of the channel, samples along a pixel's side, levels of the light; eye: the eye's position and 1, or the
direction to the eye and 0; axis: the camera's viewing direction; ray_*: of the sky; tile: its lower left pixel; bounds: of
the tile in device coordinates, left, bottom, right, top; places: resolution, top, left and roughness of each level."""

PART_BLOCK = f"""struct PbrfitPart {{
  mat4 clip;
  mat4 place;
  mat4 turn;
  vec4 color;
  vec4 surface;
  vec4 coat;
  vec4 sheen;
  vec4 emission;
  vec4 sizes[{MOST_MAPS}];
}};
"""
"""clip: local to clip space; place: local to the world, relative to the eye; turn: of normals; color: base color, alpha;
surface: roughness, metallic, openness, -1 for a mirrored part; coat: its weight and roughness, and the sheen's roughness;
sheen: tint, weight; emission: color, strength; sizes: width, height (of strips) and number of levels of each map."""

DISPLAY_BLOCK = """struct PbrfitDisplay {
  vec4 place;
  vec4 how;
  vec4 background;
};
"""
"""place: left, bottom, width and height of the picture in the image; how: 0 for a picture or 1 for an error, its gain, and
whether it is to be drawn over a view; background: what is around and behind the picture, as the display shows it."""

BLOCKS = {"frame": FRAME_BLOCK, "part": PART_BLOCK, "display": DISPLAY_BLOCK}


Matrix = tuple[float, ...]
"""The nine numbers of a matrix [3, 3], row by row."""


@dataclass(frozen=True)
class LookPlan:
    """What a look's shader samples. maps: for each texture, whether it is an "image" of Blender's or a "strip";
    sources: (property, number of the map, channel or None for its color) of each property that is not a constant;
    divided: whether to divide the base color by alpha, which it was multiplied by; recolored: the matrix for colors that
    are not linear Rec.709 yet, or None; recolors: their names; lobes: whether there is a coat, sheen or emission."""

    maps: tuple[str, ...] = ()
    sources: tuple[tuple[str, int, int | None], ...] = ()
    divided: bool = False
    recolored: Matrix | None = None
    recolors: tuple[str, ...] = ("kd",)
    lobes: bool = False


@dataclass(frozen=True)
class ShaderSource:
    """A shader. Types are those of `GPUShaderCreateInfo`: VEC2, VEC3, VEC4.

    blocks: uniform blocks by their slots: the struct is Pbrfit and the capitalised name; samplers: of 2D textures of
    floats, by their slots; inputs: attributes of a vertex, (type, name), by their slots; between: (type, name) from the
    vertices to the fragments, smooth; defines: (name, value); the only output is vec4 drawn_color.
    """

    name: str
    blocks: tuple[str, ...]
    samplers: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    between: tuple[tuple[str, str], ...]
    defines: tuple[tuple[str, str], ...]
    vertex: str
    fragment: str


@lru_cache(maxsize=1)
def _glsl() -> dict[str, str]:
    files = importlib.resources.files(__package__).iterdir()
    return {Path(file.name).stem: file.read_text(encoding="utf-8") for file in files if file.name.endswith(".glsl")}


def look_up_lines(plan: LookPlan) -> str:
    """GLSL that samples a look's textures and sets its properties."""
    lines = []
    for number, kind in enumerate(plan.maps):
        arguments = f"map_{number}, seen_uv, footprint, part.sizes[{number}]"
        lines.append(f"vec4 texel_{number} = {kind}_texel({arguments});")
    for name, number, channel in plan.sources:
        texel = f"texel_{number}"
        if name == "normal":
            lines.append(f"normal_map = {texel}.rgb * 2.0 - 1.0;")
        elif name in COLORS:
            lines.append(f"{name} = {texel}.rgb;")
        else:
            value = f"{texel}[{channel}]" if channel is not None else f"dot({texel}.rgb, LUMINANCE)"
            lines.append(f"{name} = {value};" if name == UNBOUNDED else f"{name} = clamp({value}, 0.0, 1.0);")
    if plan.divided:
        lines.append("kd = alpha > 0.0 ? kd / alpha : kd;")
    if plan.recolored is not None:
        lines += [f"{name} = {matrix_of(plan.recolored)} * {name};" for name in plan.recolors]
    return "\n  ".join(lines)


def matrix_of(matrix: Matrix) -> str:
    """A matrix in GLSL, which wants it column by column."""
    return f"mat3({', '.join(repr(float(matrix[row * 3 + column])) for column in range(3) for row in range(3))})"


def surface_source(plan: LookPlan) -> ShaderSource:
    """The shader of parts whose look has this plan."""
    tables = ("ggx_table", "sheen_table") if plan.lobes else ("ggx_table",)
    attributes = (("VEC3", "position"), ("VEC3", "normal"), ("VEC4", "tangent"), ("VEC2", "uv"))
    glsl = _glsl()
    channels = tuple((f"CHANNEL_{channel.upper()}", str(number)) for number, channel in enumerate(CHANNELS))
    fragment = glsl["surface_frag"].replace("\nLOBES\n", glsl["lobes"] if plan.lobes else "\n")
    return ShaderSource(
        name="pbrfit_surface",
        blocks=("frame", "part"),
        samplers=("light_atlas", *tables, *(f"map_{number}" for number in range(len(plan.maps)))),
        inputs=attributes,
        between=tuple((kind, f"seen_{name}") for kind, name in attributes),
        defines=(*channels, ("HAS_LOBES", "1")) if plan.lobes else channels,
        vertex=glsl["surface_vert"],
        fragment=glsl["common"] + fragment.replace("LOOK_UP", look_up_lines(plan)),
    )


def sky_source() -> ShaderSource:
    """The shader of the light behind everything, over the square from -1 to 1."""
    glsl = _glsl()
    return ShaderSource(
        name="pbrfit_sky",
        blocks=("frame",),
        samplers=("light_atlas",),
        inputs=(("VEC2", "position"),),
        between=(("VEC3", "ray"),),
        defines=(),
        vertex=glsl["sky_vert"],
        fragment=glsl["common"] + glsl["sky_frag"],
    )


def mean_source() -> ShaderSource:
    """The shader that reduces samples to the pixels of a tile, over the square from -1 to 1."""
    glsl = _glsl()
    return ShaderSource(
        name="pbrfit_mean",
        blocks=("frame",),
        samplers=("samples",),
        inputs=(("VEC2", "position"),),
        between=(),
        defines=(),
        vertex=glsl["mean_vert"],
        fragment=glsl["mean_frag"],
    )


def recolored_source(matrix: Matrix) -> ShaderSource:
    """The shader that copies an image of the same size and changes its colors, over the square from -1 to 1."""
    glsl = _glsl()
    return ShaderSource(
        name="pbrfit_recolored",
        blocks=(),
        samplers=("image",),
        inputs=(("VEC2", "position"),),
        between=(),
        defines=(),
        vertex=glsl["recolored_vert"],
        fragment=glsl["recolored_frag"].replace("COLORS", matrix_of(matrix)),
    )


def display_source(side: int, fewest_stops: float, most_stops: float) -> ShaderSource:
    """The shader that shows a picture, or the error between two, over the square from -1 to 1.

    side: of the table of what the display shows; fewest_stops, most_stops: what it begins and ends with, in powers of two.
    """
    glsl = _glsl()
    table = (("SIDE", str(side)), ("FEWEST_STOPS", f"({fewest_stops})"), ("MOST_STOPS", f"({most_stops})"))
    return ShaderSource(
        name="pbrfit_display",
        blocks=("display",),
        samplers=("first", "second", "table"),
        inputs=(("VEC2", "position"),),
        between=(),
        defines=table,
        vertex=glsl["recolored_vert"],
        fragment=glsl["display_frag"],
    )
